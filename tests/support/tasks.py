"""The four trainings in small, by name, for tests of what they share; batches of 4 of at least 6 examples."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from gp3d_core.config import presets
from gp3d_core.config.schedule import Schedule
from gp3d_core.datasets.dataset import Dataset
from gp3d_core.distributed import World
from gp3d_core.grounding import train as grounding
from gp3d_core.grounding.ground_truth import Truth, load_truth
from gp3d_core.snapshots.run_folder import RunFolder
from gp3d_core.training import gan
from gp3d_core.training.loop import Budget
from gp3d_core.vq3d import presets as vq3d_presets
from gp3d_core.vq3d.files.tokenizer_file import load_tokenizer, save_tokenizer
from gp3d_core.vq3d.models.tokenizer import Tokenizer
from gp3d_core.vq3d.toyscenes import write_toys
from gp3d_core.vq3d.training import prior, tokenizer
from tests.support.balls import write_balls
from tests.support.micro import MICRO
from tests.support.tiny_dataset import write_dataset

KINDS = ("gan", "ground", "tokenizer", "prior")
SCHEDULE = ("kimg=0.024", "status_kimg=0.008", "snapshot_kimg=0.012", "checkpoint_kimg=0.008")
GENERATOR = tuple(item for item in MICRO if item.startswith(("training.resolution", "patch.", "generator.")))
GROUND = (
    *GENERATOR,
    "training.batch=4",
    "training.micro_batch=4",
    "training.ema_kimg=0.05",
    "grounding.points=32",
    "grounding.rays=16",
    "grounding.ray_steps=4",
    "grounding.surface_steps=2",
    "grounding.held_out=1",
    "grounding.prior_steps=2",
    "grounding.point_share=0.3",
    "grounding.ray_share=0.3",
)
VQ3D = (
    "training.resolution=16",
    "training.batch=4",
    "training.warm_up=0",
    "training.critic_from=0.3",
    "training.novel_from=0.5",
    "encoder.patch=4",
    "encoder.layers=1",
    "encoder.width=16",
    "codebook.size=16",
    "codebook.revive_every=2",
    "decoder.plane_resolution=16",
    "decoder.layers=1",
    "decoder.width=24",
    "render.steps=8",
    "critic.r1_interval=2",
    "critic.mbstd_group=2",
    "critic.channel_base=256",
    "prior.layers=1",
    "prior.heads=2",
    "prior.width=16",
    "prior.batch=4",
)


@dataclass(frozen=True)
class Small:
    """A training of one kind on data that lie in `folder`."""

    kind: str
    folder: Path

    def write(self) -> Small:
        """Makes the data, and what a prior builds on."""
        if self.kind == "gan":
            write_dataset(self.folder / "data", images=8, resolution=16)
        elif self.kind == "ground":
            write_balls(self.folder / "data")
        else:
            write_toys(self.folder / "data", 8, 16, views=1, seed=0)
            torch.manual_seed(3)
            config = vq3d_presets.resolve("tiny32", VQ3D)
            save_tokenizer(self.folder / "tokenizer.safetensors", Tokenizer(config), config, [], 0)
        return self

    def settings(self, *changes: str) -> list[str]:
        """All that differs from the preset; `changes` of the schedule need no prefix."""
        part = "prior" if self.kind == "prior" else "training"
        whole = [item if "." in item.split("=")[0] else f"{part}.{item}" for item in (*SCHEDULE, *changes)]
        if self.kind == "prior":  # the rest is its tokenizer's
            return [item for item in (*VQ3D, *whole) if item.startswith("prior.")]
        return [*{"gan": MICRO, "ground": GROUND, "tokenizer": VQ3D}[self.kind], *whole]

    def config(self, *changes: str):
        """The configuration."""
        if self.kind == "gan":
            return presets.resolve("tiny", self.settings(*changes))
        if self.kind == "ground":
            return presets.resolve("box-64", self.settings(*changes))
        others = [*VQ3D, *(item for item in changes if "." in item.split("=")[0])]
        return vq3d_presets.resolve("tiny32", [*others, *self.settings(*changes)])

    def command(self, run: Path, *changes: str) -> list[str]:
        """The words after `gp3d` that train on a CPU in the folder `run`."""
        data = str(self.folder / "data")
        words = {
            "gan": ["train", data, str(run), "--preset", "tiny"],
            "ground": ["ground", data, str(run), "--preset", "box-64"],
            "tokenizer": ["vq3d", "train", data, str(run), "--preset", "tiny32"],
            "prior": ["vq3d", "train-prior", str(self.folder / "tokenizer.safetensors"), data, str(run)],
        }[self.kind]
        settings = [word for item in self.settings(*changes) for word in ("--set", item)]
        return [*words, "--device", "cpu", *settings]

    def begin(self, path: Path, *changes: str, world: World | None = None):
        """The task in the run folder `path`, which is claimed."""
        world, folder = world or World(), RunFolder(path)
        if world.leads:
            folder.claim(self.decisive(*changes), self.data().fingerprint)
        world.barrier()
        return self.open_task(folder, world, *changes)

    def data(self) -> Dataset | Truth:
        """What is learnt from."""
        data = self.folder / "data"
        return load_truth(data, 16) if self.kind == "ground" else Dataset(data)

    def decisive(self, *changes: str):
        """The part of the configuration that a run folder belongs to."""
        config = self.config(*changes)
        return config.prior if self.kind == "prior" else config

    def open_task(self, folder: RunFolder, world: World, *changes: str):
        """The task in a claimed `folder`."""
        config, dataset = self.config(*changes), self.data()
        if self.kind == "gan":
            return gan.open_task(config, dataset, folder, world)
        if self.kind == "ground":
            return grounding.open_task(config, dataset, folder, world)
        if self.kind == "tokenizer":
            others = tokenizer.open_other_views(config, dataset)
            return tokenizer.open_task(config, dataset, folder, world, self.budget(*changes), others)
        snapshot = load_tokenizer(self.folder / "tokenizer.safetensors")
        return prior.open_task(config, snapshot, dataset, folder, world, self.budget(*changes))

    def schedule(self, *changes: str) -> Schedule:
        """When the run saves and ends."""
        config = self.config(*changes)
        if self.kind in ("gan", "ground"):
            return config.training.schedule
        return config.prior_schedule if self.kind == "prior" else config.tokenizer_schedule

    def budget(self, *changes: str) -> Budget:
        """The images of the schedule, and any number of minutes."""
        return Budget(self.schedule(*changes).images)
