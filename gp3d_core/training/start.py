"""Starting adversarial training: checks everything that can be checked first; and what a run would come to."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from gp3d_core.baselines.generators import make_generator
from gp3d_core.config.schema import ConfigError, RunConfig, to_dict, unread
from gp3d_core.datasets.dataset import Dataset, batches
from gp3d_core.distributed import World, place
from gp3d_core.ops.backends import announce as tell
from gp3d_core.rendering.known_cameras import cameras_apart
from gp3d_core.snapshots.run_folder import RunFolder, find_snapshot
from gp3d_core.snapshots.shapes_only import shapes_only
from gp3d_core.training.gan import (
    GanTask,
    build_state,
    check_share,
    custom_angles,
    open_task,
    train_step,
)
from gp3d_core.training.launch import Ending, Forecast, Plan, images_to_forecast, launch
from gp3d_core.training.loop import Budget
from gp3d_core.training.systems.projected import check_weights
from gp3d_core.training.systems.table import make_discriminator, make_phases
from gp3d_core.training.warm_start import check_transfer

_SHARE_OF_MEMORY = 0.8  # the estimate is rough


def start_training(
    config: RunConfig,
    dataset_path: Path,
    run: Path,
    *,
    device: str,
    features: Path | None = None,
    overfit: int | None = None,
    max_minutes: float = math.inf,
    init: Path | None = None,
    weights: Path | None = None,
    announce: Callable[[Forecast], None] | None = None,
    fit: Callable[[str], object] | None = None,
    notice: Callable[[str], object] = tell,
) -> Ending:
    """How the training on the data set at `dataset_path` in the folder `run` ended; it goes on from what is there.

    A fresh run begins with the generator of `init`, a snapshot file or the newest of a run folder, and takes the
    `weights` of the pretrained network that a projected discriminator looks through. `announce` is told, before the
    first step on a CPU, how long the run will take, if it has not ended. With `fit` a fresh run gets a
    smaller micro-batch than the configuration's where memory asks for it, one that goes on keeps its own, and `fit` is
    told of either (of one process only). `notice` is told what is no error and yet hardly meant.
    Raises a GP3DError for anything that is wrong with configuration, data or folder, before any training.
    """
    if place()[1] > 1:
        fit = None  # several processes might not agree
    begun, asked = None if fit is None else RunFolder(run).micro_batch(), config.training.micro_batch
    if begun is not None:
        config = _in_micro_batches(config, begun)
    RunFolder(run).check_config(config)
    check_weights(config, weights, fresh=not RunFolder(run).list_checkpoints())
    dataset = open_dataset(config, dataset_path, features, overfit, notice)
    if fit is not None:
        if begun is None:
            config = _in_micro_batches(config, fitting_micro_batch(config, dataset, free_memory(device)))
        if (chosen := config.training.micro_batch) != asked:
            reason = "more may not fit into memory" if begun is None else "as this run began"
            fit(f"training.micro_batch {asked} → {chosen}: {reason}")
    if init is not None:
        init = find_snapshot(init)
        check_transfer(init, config, dataset.classes)
    settings = config.training

    def begin(folder: RunFolder, here: World, budget: Budget) -> GanTask:
        if announce is not None and (left := images_to_forecast(folder, here, budget)):
            announce(forecast(config, dataset, left))
        return open_task(config, dataset, folder, here, init, weights)

    plan = Plan(
        config=config,
        schedule=settings.schedule,
        fingerprint=dataset.fingerprint,
        check_data=lambda rank, size: dataset.check(settings.resolution, rank=rank, size=size),
        open_task=begin,
        check_share=partial(check_share, config),
        less_memory=f"choose a `training.micro_batch` below {settings.micro_batch}, gradients stay averages over the "
        "whole batch",
        init=init,
    )
    return launch(plan, run, device=device, max_minutes=max_minutes)


def fitting_micro_batch(config: RunConfig, dataset: Dataset, free: float) -> int:
    """The configuration's micro-batch, halved until the training needs four fifths of `free` bytes at the most.

    It never gets smaller than the groups of images that are seen together, nor odd parts of them.
    """
    sizes, smallest = (
        count_parameters(config, dataset),
        max(config.patch.group, config.discriminator.mbstd_group),
    )
    micro = config.training.micro_batch
    while micro % (2 * smallest) == 0:
        if estimate_memory(_in_micro_batches(config, micro), sizes) <= _SHARE_OF_MEMORY * free:
            break
        micro //= 2
    return micro


def _in_micro_batches(config: RunConfig, size: int) -> RunConfig:
    return replace(config, training=replace(config.training, micro_batch=size))


def free_memory(device: str) -> float:
    """Bytes that nothing uses on `device`, "cpu" or "cuda"; infinite where the system does not say."""
    if device == "cuda":
        return float(torch.cuda.mem_get_info()[0])
    facts = Path("/proc/meminfo")
    found = (
        re.search(r"^MemAvailable:\s+(\d+) kB", facts.read_text(), re.MULTILINE) if facts.exists() else None
    )
    return math.inf if found is None else 1024.0 * int(found[1])


def forecast(config: RunConfig, dataset: Dataset, images: int) -> Forecast:
    """How long so many `images` take, from one image that a model of that size is trained on here.

    The second of two steps without R1 on a batch of one, which costs a CPU a third more an image than a large batch
    does; R1 adds about as much. Nothing of it is kept.
    """
    probe = replace(config, training=replace(config.training, batch=1, micro_batch=1, head_start_kimg=0.0))
    with torch.random.fork_rng():
        state = build_state(probe, dataset, World())
    state.nimg = 1  # R1 comes once in many steps, the first among them
    batch = next(batches(dataset, nimg=0, batch=1, part=slice(0, 1), seed=0, mirror=False))
    train_step(state, batch, World())  # the first one loads libraries
    start = time.monotonic()
    train_step(state, batch, World())
    return Forecast(images, images * (time.monotonic() - start))


def check_depth_range(config: RunConfig, dataset: Dataset) -> None:
    """Raises ConfigError when the data's depth is exact but coded between other distances than the cameras see."""
    camera = config.camera
    if (
        not config.reads_depth
        or config.camera_generator.adjust
        or dataset.t_near is None
        or dataset.t_far is None
    ):
        return
    if abs(dataset.t_near - camera.t_near) > 1e-6 or abs(dataset.t_far - camera.t_far) > 1e-6:
        raise ConfigError(
            f"{dataset.path} codes depth between {dataset.t_near:g} and {dataset.t_far:g}, the configuration sees "
            f"from {camera.t_near:g} to {camera.t_far:g}: use `camera.t_near`={dataset.t_near:g} "
            f"`camera.t_far`={dataset.t_far:g}"
        )


def check_features(config: RunConfig, features: Path | None) -> None:
    """Raises ConfigError for `features` that the configuration's system never looks at."""
    if features is not None and unread(config, "loss.distillation_weight") is not None:
        raise ConfigError(
            f"`features` {features}: preset {config.preset} distils no features; leave them away, or choose a preset "
            "that does"
        )


def open_dataset(
    config: RunConfig,
    path: Path,
    features: Path | None,
    overfit: int | None,
    notice: Callable[[str], object] = tell,
) -> Dataset:
    """The data set at `path`, or `overfit` images of it, from all classes in turn; without depth that nobody reads.

    `notice` is told where its cameras are known and others than those that are drawn.
    Raises ConfigError or DatasetError where the data lack what the configuration needs.
    """
    check_features(config, features)
    dataset = Dataset(path, features=features, reads_depth=config.reads_depth)
    dataset.check_resolution(config.training.resolution)
    if apart := cameras_apart(config, dataset):
        notice(f"{apart.words}; shapes would make up for that. {apart.remedy}")
    check_depth_range(config, dataset)
    make_phases(config, dataset)  # says what they need that the data has not
    custom_angles(config, dataset, World())  # likewise
    return dataset if overfit is None else dataset.subset(overfit)


def describe(
    config: RunConfig,
    dataset_path: Path,
    features: Path | None = None,
    overfit: int | None = None,
    weights: Path | None = None,
    *,
    fresh: bool = True,
    notice: Callable[[str], object] = tell,
) -> str:
    """What `start_training` would do, as JSON: the resolved configuration, and last, where a terminal shows it, what
    it comes to: images, steps, sizes, memory estimate. It refuses what that refuses, for a `fresh` run or another.
    """
    check_weights(config, weights, fresh=fresh)
    dataset = open_dataset(config, dataset_path, features, overfit, notice)
    sizes = count_parameters(config, dataset)
    facts = {
        "config": to_dict(config),
        "images": len(dataset),
        "classes": dataset.num_classes,
        "images_to_see": config.training.schedule.images,
        "steps": math.ceil(config.training.schedule.images / config.training.batch),
        "parameters": sizes,
        "memory_estimate_gib": round(estimate_memory(config, sizes) / 2**30, 2),
    }
    return json.dumps(facts, indent=1)


def count_parameters(config: RunConfig, dataset: Dataset) -> dict[str, int]:
    """Numbers of weights of the generator and the discriminator; nothing is made that needs memory."""
    with shapes_only():
        generator = make_generator(config, dataset.num_classes)
        discriminator = make_discriminator(config, dataset.num_classes, dataset.feature_dim)
    modules = {"generator": generator, "discriminator": discriminator}
    return {name: sum(p.numel() for p in module.parameters()) for name, module in modules.items()}


def estimate_memory(config: RunConfig, sizes: dict[str, int]) -> float:
    """Bytes of one process, roughly: weights with moments and average, and the activations of a micro-batch.

    The renderer dominates: per sample it keeps three plane features, the hidden layer and the output, twice (value
    and gradient); the backbone keeps about six maps per resolution.
    """
    settings, generator = config.training, config.generator
    weights = 4 * (5 * sizes["generator"] + 4 * sizes["discriminator"])
    samples = config.rendered**2 * (config.render.coarse_steps + config.render.fine_steps)
    per_sample = 4 * 2 * (4 * generator.plane_channels + 2 * generator.decoder_width + 16)
    maps = sum(
        6 * min(generator.channel_base // resolution, generator.channel_max) * resolution**2
        for resolution in (2**k for k in range(2, int(math.log2(generator.plane_resolution)) + 1))
    )
    return weights + settings.micro_batch * (samples * per_sample + 4 * 2 * maps)
