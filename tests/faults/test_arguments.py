"""Every argument of `gp3d` that names a file to read refuses a pipe at once, in one line."""

from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path

import pytest
import torch

from gp3d_core.cli.main import main
from tests.support.micro import micro_snapshot
from tests.support.tiny_dataset import write_dataset
from tests.support.two_processes import run_alone

pytestmark = pytest.mark.slow
COMMANDS = (
    "mesh PIPE --out OUT",
    "mesh --recipe PIPE --out OUT",
    "render PIPE --out OUT",
    "classes PIPE",
    "card PIPE",
    "ship PIPE OUT --license CC0",
    "evaluate PIPE SET --out OUT",
    "evaluate MODEL PIPE --out OUT",
    "evaluate MODEL SET --out OUT --metrics shapes --truth PIPE",
    "evaluate MODEL SET --out OUT --metrics kid --features torchvision:squeezenet1_0 --weights PIPE",
    "evaluate --meshes PIPE --truth SET --out OUT",
    "evaluate --meshes SET --truth PIPE --out OUT",
    "gallery PIPE --out OUT",
    "lift PIPE --out OUT",
    "lift IMAGE --depth PIPE --kind metric --fov 50 --out OUT",
    "data pack PIPE OUT",
    "data check PIPE",
    "data stats PIPE",
    "data depth SET --from PIPE",
    "data mask SET --masks PIPE",
    "data mask SET --model PIPE",
    "data features SET --teacher PIPE",
    "data features SET --teacher torchvision:squeezenet1_0 --weights PIPE",
    "data select PIPE OUT --keep 5",
    "data zip PIPE OUT",
    "data card PIPE",
    "data compose PIPE OUT",
    "train PIPE OUT",
    "train SET OUT --config PIPE",
    "train SET OUT --init PIPE",
    "ground PIPE OUT",
    "vq3d train PIPE OUT",
    "vq3d train-prior PIPE SET OUT",
    "vq3d reconstruct PIPE IMAGE --out OUT",
    "vq3d sample PIPE --out OUT",
    "vq3d orbit PIPE --out OUT",
    "vq3d mesh PIPE --out OUT",
    "vq3d insert PIPE PIPE --out OUT",
    "vq3d evaluate PIPE SET --out OUT",
    "vq3d ship PIPE OUT",
    "serve PIPE",
    "mcp PIPE --dir OUT",
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)  # threads of OpenMP do not survive a fork
    folder = tmp_path_factory.mktemp("place")
    write_dataset(folder / "SET")
    micro_snapshot(folder / "model", 4).rename(folder / "MODEL")
    next((folder / "SET").rglob("*_000.png")).rename(folder / "IMAGE")
    return folder


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("ending", ["", ".safetensors"])
def test_pipes_are_refused_at_once(place: Path, tmp_path: Path, command: str, ending: str) -> None:
    pipe = tmp_path / f"pipe{ending}"
    os.mkfifo(pipe)
    paths = {name: str(place / name) for name in ("SET", "MODEL", "IMAGE")}
    paths |= {"PIPE": str(pipe), "OUT": str(tmp_path / "out")}

    def limited() -> int:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)  # libraries that wait in C hear no other
        signal.alarm(30)
        return main([paths.get(word, word) for word in command.split()])

    assert run_alone(partial(limited), tmp_path / "log") in (2, 3)
    said = (tmp_path / "log").read_text().splitlines()
    assert len(said) == 1, said
    assert not (tmp_path / "out").exists()
