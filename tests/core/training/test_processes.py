"""Several processes: their steps against one process's, with gradients that really travel between them.

Grounding draws the same examples everywhere, so that its steps are those of one process. VQ3D's processes draw their
own random numbers: gradients are the means of those that each would have on its part alone.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gp3d_core.distributed import World
from gp3d_core.vq3d.training import prior, tokenizer
from tests.support.tasks import Small

STEPS = """
import sys, torch
from pathlib import Path
from gp3d_core.distributed import world
from tests.support.tasks import Small
torch.set_num_threads(1)
kind, folder, out, steps, *changes = sys.argv[1:]
with world("cpu") as here:
    task = Small(kind, Path(folder)).begin(Path(out), *changes, world=here)
    gradients = {}
    for name, optimizer in task.state.optimizers.items():
        def step(name=name, optimizer=optimizer, step=optimizer.step):
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            gradients[name] = [None if p.grad is None else p.grad.to_dense().clone() for p in parameters]
            step()
        optimizer.step = step
    for _, log in zip(range(int(steps)), task.steps()):
        numbers, skipped = log.read()
        assert not skipped
    weights = {f"{n}.{k}": v for n, m in task.state.modules.items() for k, v in m.state_dict().items()}
    torch.save({"weights": weights, "gradients": gradients, "log": numbers}, f"{out}/{here.rank}.pt")
"""
CHANGES = {
    # five steps meet all three stages; half precision rounds otherwise in batches of another size
    "ground": ("grounding.point_share=0.2", "grounding.ray_share=0.2", "training.precision=float32"),
    "tokenizer": (
        "training.critic_from=0",
        "training.novel_from=0",
        "loss.view=1",
        "codebook.size=64",  # more than a batch has tokens, so that some codes are revived
        "codebook.revive_every=2",
    ),
    "prior": (),
}


pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module", params=["ground", "tokenizer", "prior"])
def small(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Small:
    return Small(request.param, tmp_path_factory.mktemp(request.param)).write()


def torchrun(processes: int, *command: str) -> None:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    environment = {**os.environ, "PYTHONPATH": os.getcwd(), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*launcher, f"--nproc-per-node={processes}", *command],
        env=environment,
        timeout=240,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


THREADS = """
import sys
from pathlib import Path
import torch
from gp3d_core.distributed import world
def names(): return sorted({file.read_text().strip() for file in Path("/proc/self/task").glob("*/comm")})
with world("cpu") as here:
    torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))]).step()
    here.barrier()
    during = names()
(Path(sys.argv[1]) / f"{here.rank}.txt").write_text(f"{during}\\n{names()}")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="threads are named in /proc")
def test_no_thread_of_the_processes_connection_outlives_it(tmp_path: Path) -> None:
    """torch 2.13.0: one that does may abort the process while Python ends (pytorch/pytorch#179291, #190489)."""
    (tmp_path / "job.py").write_text(THREADS)
    torchrun(2, str(tmp_path / "job.py"), str(tmp_path))
    for rank in (0, 1):
        during, after = (tmp_path / f"{rank}.txt").read_text().splitlines()
        assert "gloo" in during
        assert "gloo" not in after


def take_steps(small: Small, out: Path, processes: int, steps: int, *changes: str) -> list[dict]:
    """What each process has after some steps."""
    out.mkdir(parents=True)
    (out / "job.py").write_text(STEPS)
    run = out / "run"
    torchrun(processes, str(out / "job.py"), small.kind, str(small.folder), str(run), str(steps), *changes)
    return [torch.load(run / f"{rank}.pt", weights_only=True) for rank in range(processes)]


@dataclass(frozen=True)
class Half(World):
    """One of two processes that runs alone: takes its part of a batch, and keeps what it would have sent.

    `led` holds what the leading process sends, so that it must run first.
    """

    led: list[list[Tensor]] = field(default_factory=list)

    def part_of(self, batch: int) -> slice:
        return slice(self.rank * batch // 2, (self.rank + 1) * batch // 2)

    def barrier(self) -> None:
        pass

    def copy_from_leader_(self, tensors: list[Tensor]) -> None:
        if self.rank == 0:
            self.led.append([tensor.clone() for tensor in tensors])
            return
        for tensor, sent in zip(tensors, self.led.pop(0), strict=True):
            tensor.copy_(sent)


def gradients_of_half(
    small: Small, out: Path, monkeypatch: pytest.MonkeyPatch, half: Half
) -> dict[str, list]:
    """Gradients that a process would bring to the first update of each player."""
    module, caught = {"tokenizer": tokenizer, "prior": prior}[small.kind], {}

    def catch(player: torch.nn.Module, optimizer: torch.optim.Optimizer, *_: object, **__: object) -> Tensor:
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        caught[id(optimizer)] = [p.grad for p in parameters]
        player.zero_grad(set_to_none=True)
        return torch.zeros(())

    monkeypatch.setattr(module, "update", catch)
    task = replace(small.begin(out / str(half.rank), *CHANGES[small.kind]), world=half)
    next(task.steps())
    return {name: caught[id(optimizer)] for name, optimizer in task.state.optimizers.items()}


def clipped(gradients: list[Tensor | None]) -> list[Tensor | None]:
    """The same, of a norm of at most 1, as both stages of VQ3D have it."""
    norm = torch.stack([g.square().sum() for g in gradients if g is not None]).sum().sqrt()
    return [None if g is None else g * min(1.0, 1 / (float(norm) + 1e-6)) for g in gradients]


@pytest.mark.parametrize("small", ["tokenizer", "prior"], indirect=True)
def test_two_processes_step_with_the_mean_of_their_gradients(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = take_steps(small, tmp_path / "2", 2, 1, *CHANGES[small.kind])
    led: list[list[Tensor]] = []
    one, other = (gradients_of_half(small, tmp_path, monkeypatch, Half(rank=k, led=led)) for k in (0, 1))
    assert one.keys() == first["gradients"].keys()
    for name, found in first["gradients"].items():
        pairs = zip(one[name], other[name], strict=True)
        mean = [None if a is None else (a + b) / 2 for a, b in pairs]
        for value, expected in zip(found, mean if name == "critic_optimizer" else clipped(mean), strict=True):
            assert (value is None) == (expected is None)
            if value is not None:
                largest = expected.abs().max().item()
                assert torch.allclose(value, expected, rtol=1e-3, atol=1e-4 * largest + 1e-9), name
    assert any(
        a is not None and not torch.allclose(a, b, rtol=0.1)
        for a, b in zip(one["optimizer"], other["optimizer"], strict=True)
    )


def test_two_processes_ground_as_one_does(tmp_path: Path) -> None:
    small = Small("ground", tmp_path / "small").write()
    (one,), (first, _) = (take_steps(small, tmp_path / str(n), n, 5, *CHANGES["ground"]) for n in (1, 2))
    assert first["log"] == pytest.approx(one["log"], rel=1e-3, abs=1e-5)
    for name, value in one["weights"].items():
        assert torch.allclose(first["weights"][name], value, rtol=1e-3, atol=2e-5), name


def test_processes_stay_alike(small: Small, tmp_path: Path) -> None:
    """Whatever is random or counted on each: weights, averages and uses of codes are the same after some steps."""
    one, two = take_steps(small, tmp_path / "2", 2, 3, *CHANGES[small.kind])
    for name, value in one["weights"].items():
        assert torch.equal(value, two["weights"][name]), name


def test_whole_run_of_two_processes_leaves_one_snapshot(small: Small, tmp_path: Path) -> None:
    run, changes = tmp_path / "run", ("kimg=0.012", "checkpoint_kimg=0.004", "snapshot_kimg=0.004")
    torchrun(2, "-m", "gp3d_core.cli", *small.command(run, *changes))
    assert (run / "snapshots/snapshot-000000.01.safetensors").exists()
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == [
        f"checkpoint-{nimg:010d}.safetensors" for nimg in (8, 12)
    ]
