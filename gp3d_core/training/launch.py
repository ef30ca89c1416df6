"""`gp3d train`: checks everything that can be checked, then trains; a dry run only tells what would happen."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import torch

from gp3d_core.config.schema import ConfigError, RunConfig, to_dict
from gp3d_core.datasets.dataset import Dataset
from gp3d_core.distributed import place, world
from gp3d_core.networks.discriminator import Discriminator
from gp3d_core.networks.generator import Generator
from gp3d_core.signals import Interruption, interruptible
from gp3d_core.snapshots.run_folder import RunFolder, newest_snapshot
from gp3d_core.training.gan import TrainState, check_share, train
from gp3d_core.training.warm_start import check_transfer


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
) -> int:
    """Trains on the data set at `dataset_path` in the folder `run`, resuming what is there; returns the exit code.

    A fresh run begins with the generator of `init`, a snapshot file or the newest of a run folder.
    Raises a GP3DError for anything that is wrong with configuration, data or folder, before any training.
    """
    rank, processes = place()
    check_share(config, processes)
    dataset, folder = open_dataset(dataset_path, features, overfit), RunFolder(run)
    check_depth_range(config, dataset)
    if init is not None:
        init = newest_snapshot(init) if init.is_dir() else init
        check_transfer(init, config, dataset.classes)
    if folder.data_fingerprint() != dataset.fingerprint:  # a run that goes on has checked its data before
        dataset.check(config.training.resolution, rank=rank, size=processes)
    with world(device) as here:
        if here.leads:
            folder.claim(config, dataset.fingerprint, init)
        here.barrier()
        with interruptible() as interruption:
            try:
                state = train(config, dataset, folder, here, interruption, max_minutes=max_minutes, init=init)
            except torch.OutOfMemoryError as error:
                raise ConfigError(
                    f"out of memory with training.micro_batch {config.training.micro_batch}: choose a smaller one, "
                    "gradients stay averages over the whole batch"
                ) from error
        if here.leads:
            print(f"{ending(state, interruption, max_minutes)}; snapshot:", file=sys.stderr)
            print(folder.snapshot_path(state.nimg))
        return interruption.exit_code


def ending(state: TrainState, interruption: Interruption, max_minutes: float) -> str:
    """How a run ended, and how it would go on, in one line."""
    total = round(1000 * state.config.training.kimg)
    if state.nimg >= total:
        return f"done at {state.nimg} images"
    if interruption.requested:
        return f"stopped at {state.nimg} of {total} images; the same command goes on"
    return f"time is up ({max_minutes:g} min) at {state.nimg} of {total} images; the same command with more goes on"


def check_depth_range(config: RunConfig, dataset: Dataset) -> None:
    """Raises ConfigError when the data's depth is exact but coded between other distances than the cameras see."""
    camera = config.camera
    if config.camera_generator.adjust or dataset.t_near is None or dataset.t_far is None:
        return
    if abs(dataset.t_near - camera.t_near) > 1e-6 or abs(dataset.t_far - camera.t_far) > 1e-6:
        raise ConfigError(
            f"{dataset.path} codes depth between {dataset.t_near:g} and {dataset.t_far:g}, the configuration sees "
            f"from {camera.t_near:g} to {camera.t_far:g}: use `camera.t_near`={dataset.t_near:g} "
            f"`camera.t_far`={dataset.t_far:g}"
        )


def open_dataset(path: Path, features: Path | None, overfit: int | None) -> Dataset:
    """The data set at `path`, or `overfit` images of it, from all classes in turn."""
    dataset = Dataset(path, features=features)
    return dataset if overfit is None else dataset.few(overfit)


def describe(
    config: RunConfig, dataset_path: Path, features: Path | None = None, overfit: int | None = None
) -> str:
    """What `start_training` would do, as JSON: the resolved configuration, and last, where a terminal shows it, what
    it comes to: images, steps, sizes, memory estimate.
    """
    dataset = open_dataset(dataset_path, features, overfit)
    generator = Generator(config, dataset.num_classes)
    discriminator = Discriminator(config, dataset.num_classes, dataset.feature_dim)
    sizes = {
        name: sum(p.numel() for p in module.parameters())
        for name, module in (("generator", generator), ("discriminator", discriminator))
    }
    facts = {
        "config": to_dict(config),
        "images": len(dataset),
        "classes": dataset.num_classes,
        "images_to_see": round(1000 * config.training.kimg),
        "steps": math.ceil(1000 * config.training.kimg / config.training.batch),
        "parameters": sizes,
        "memory_estimate_gib": round(estimate_memory(config, sizes) / 2**30, 2),
    }
    return json.dumps(facts, indent=1)


def estimate_memory(config: RunConfig, sizes: dict[str, int]) -> float:
    """Bytes of one process, roughly: weights with moments and average, and the activations of a micro-batch.

    The renderer dominates: per sample it keeps three plane features, the hidden layer and the output, twice (value
    and gradient); the backbone keeps about six maps per resolution.
    """
    settings, generator = config.training, config.generator
    weights = 4 * (5 * sizes["generator"] + 4 * sizes["discriminator"])
    samples = config.patch.resolution**2 * (config.render.coarse_steps + config.render.fine_steps)
    per_sample = 4 * 2 * (4 * generator.plane_channels + 2 * generator.decoder_width + 16)
    maps = sum(
        6 * min(generator.channel_base // resolution, generator.channel_max) * resolution**2
        for resolution in (2**k for k in range(2, int(math.log2(generator.plane_resolution)) + 1))
    )
    return weights + settings.micro_batch * (samples * per_sample + 4 * 2 * maps)
