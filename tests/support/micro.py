"""The smallest 3DGP that still has every part, for tests that train."""

from __future__ import annotations

import math
from pathlib import Path

import torch

from gp3d_core.config.presets import resolve
from gp3d_core.config.schema import RunConfig
from gp3d_core.datasets.dataset import Dataset
from gp3d_core.distributed import World
from gp3d_core.signals import Interruption
from gp3d_core.snapshots.run_folder import RunFolder
from gp3d_core.snapshots.snapshot import save_snapshot
from gp3d_core.training import loop
from gp3d_core.training.gan import TrainState, build_state, open_task
from tests.support.tiny_dataset import write_dataset

MICRO = (
    "training.resolution=16",
    "patch.resolution=8",
    "training.batch=4",
    "training.micro_batch=4",
    "generator.plane_resolution=16",
    "generator.plane_channels=4",
    "generator.z_dim=8",
    "generator.w_dim=16",
    "generator.channel_base=128",
    "generator.channel_max=16",
    "generator.decoder_width=8",
    "discriminator.channel_base=256",
    "discriminator.channel_max=16",
    "depth_adaptor.width=4",
    "render.coarse_steps=6",
    "render.fine_steps=6",
    "loss.r1_interval=2",
    "training.status_kimg=0.008",
    "training.snapshot_kimg=0.016",
    "training.checkpoint_kimg=0.008",
    "training.kimg=0.024",
)
CAMERA_GENERATOR = ("camera_generator.adjust=angles", "camera_generator.regulariser=emd")


def micro_config(*more: str) -> RunConfig:
    """The `tiny` preset made smaller still."""
    return resolve("tiny", [*MICRO, *more])


def micro_data(folder: Path) -> Dataset:
    """Eight spheres of two classes at 16 px, written into `folder`."""
    return Dataset(write_dataset(folder, images=8, resolution=16))


def micro_state(folder: Path, *more: str) -> TrainState:
    """A fresh run on `micro_data`."""
    return build_state(micro_config(*more), micro_data(folder), World())


class StopAfter(Interruption):
    """An interruption that comes after a number of looks at it."""

    def __init__(self, looks):
        super().__init__()
        self.looks = looks

    @property
    def requested(self):
        self.looks -= 1
        return self.looks < 0


def micro_snapshot(folder: Path, nimg: int = 0) -> Path:
    """The snapshot of an untrained micro model in the run folder `folder`/run."""
    state = micro_state(folder / "data")
    path = RunFolder(folder / "run").snapshot_path(nimg)
    path.parent.mkdir(parents=True)
    save_snapshot(path, state.ema, state.config, state.classes, nimg)
    return path


def run(folder, dataset, config, interruption=None, init=None):
    """The state that a run of 3DGP ends with."""
    run_folder = RunFolder(folder)
    run_folder.claim(config, dataset.fingerprint, init)
    task = open_task(config, dataset, run_folder, World(), init)
    return finish(task, run_folder, interruption)


def finish(task, folder, interruption=None, minutes=math.inf):
    """The state that a task ends with in a claimed folder."""
    budget = loop.Budget(task.schedule.images, minutes)
    loop.run(task, folder, task.world, interruption or Interruption(), budget)
    return task.state


def weights_of(state):
    return {f"{n}.{k}": v for n, m in state.modules.items() for k, v in m.state_dict().items()}


def moments_of(state):
    optimizers = state.optimizers.items()
    return {
        f"{n}.{i}.{k}": torch.as_tensor(v)
        for n, o in optimizers
        for i, moments in o.state_dict()["state"].items()
        for k, v in moments.items()
    }


def assert_same(a, b):
    assert a.keys() == b.keys()
    for key in a:
        assert torch.equal(a[key], b[key]), key
