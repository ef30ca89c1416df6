"""This revision beside another, by the commands that people type: `python -m benchmarks.compare REV [--only NAMES]`.

REV is checked out into a temporary folder and run by the same Python. Both are compiled to bytecode first, as
installing does, and take turns, first one, then the other, on the same model and seed; medians of processor time, of
the clock and of memory are printed with their ratios, here over there. A worker makes its meshes after one that warms
it. What is not the same in both is said: the bytes of what they wrote, or a command that one of them does not know.
"""

from __future__ import annotations

import argparse
import compileall
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.bench_step import METHOD_AT_64
from benchmarks.measuring import Rows
from gp3d_core.distributed import pick_device
from gp3d_core.errors import GP3DError

HERE = Path(__file__).resolve().parents[1]
MODEL = HERE / "gp3d_core/pretrained/box-1.safetensors"  # the one that came along with older revisions, too

_SERVED = 3  # meshes of a worker, after one that warms it

# A process's peak of memory begins with that of whoever started it, and this program holds torch: something small
# starts the command, and says what it took.
_LAUNCHER = """
import json, resource, subprocess, sys, time
began = time.monotonic()
code = subprocess.call(sys.argv[2:], stdout=sys.stderr)
clock, used = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
with open(sys.argv[1], "w") as file:
    json.dump({"processor": used.ru_utime + used.ru_stime, "clock": clock, "memory": used.ru_maxrss / 1024}, file)
sys.exit(code)
"""


class RevisionError(GP3DError):
    """A revision that cannot be checked out; the message says why."""


@dataclass(frozen=True)
class Case:
    """A command by its arguments, which write below the folder that they are given."""

    name: str
    arguments: Callable[[Path], Sequence[object]]


@dataclass(frozen=True)
class Served:
    """Meshes of a worker that is warm: the fields of its request, but for what says which object and where."""

    name: str
    fields: Mapping[str, object]


def _mesh(*options: object) -> Callable[[Path], Sequence[object]]:
    return lambda out: ("mesh", MODEL, "--class", "coffee mug", "--out", out / "meshes", *options)


CASES: tuple[Case | Served, ...] = (
    Case("help", lambda out: ("--help",)),
    Case("mesh, vertex colours", _mesh("--color", "vertex")),
    Case("mesh, texture of 1024", _mesh("--texture-size", 1024)),
    Case("mesh, grid of 512", _mesh("--color", "vertex", "--grid", 512)),
    Served("worker, warm: textured mesh", {"grid": 128, "faces": 30000, "texture_size": 1024}),
    Case("classes", lambda out: ("classes",)),
    Case(
        "vq3d sample of four",
        lambda out: ("vq3d", "sample", "box", "--seeds", "0-3", "--out", out / "scenes"),
    ),
)

# no features are asked of the data
_METHOD = (*METHOD_AT_64, "loss.distillation_weight.start=0", "loss.distillation_weight.end=0")
# presets with what is set, and lengths in images; sixteen steps lie between those of the method, one of them with R1
TRAININGS: tuple[tuple[str, tuple[str, ...], tuple[int, int]], ...] = (
    ("preset tiny", ("--preset", "tiny"), (200, 400)),
    (
        "the method at 64²",
        ("--preset", "imagenet-256", *(word for key in _METHOD for word in ("--set", key))),
        (16, 80),
    ),
)


@dataclass(frozen=True)
class Run:
    """What one command took: seconds of all its processors, seconds of the clock, megabytes; SHA-256 of its files."""

    processor: float
    clock: float
    memory: float
    files: str


def main(arguments: list[str] | None = None) -> int:
    """Prints and saves the figures; 1 if a command failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("revision", metavar="REV", help="what git calls the other one")
    parser.add_argument(
        "--only", default="", help=f"names, with ; between: {'; '.join(c.name for c in CASES)}"
    )
    parser.add_argument("--rounds", type=int, default=3, help="in which both take turns (default: 3)")
    parser.add_argument("--data", type=Path, help="a data set of 64² with depth: training is compared, too")
    parser.add_argument("--csv", type=Path)
    options = parser.parse_args(arguments)
    cases = [*CASES, *(training(options.data.resolve()) if options.data else ())]
    names = [name.strip() for name in options.only.split(";") if name.strip()]
    if unknown := set(names) - {case.name for case in cases}:
        parser.error(f"--only: there is no {sorted(unknown)[0]}")
    rows = Rows("compare", options.csv, pick_device("cpu"), float("inf"))
    failed = False
    with tempfile.TemporaryDirectory(prefix="gp3d-compare-") as scratch:
        try:
            other = check_out(options.revision, Path(scratch) / "other")
        except RevisionError as error:
            sys.exit(f"compare: {error}")
        for checkout in (HERE, other):
            compileall.compile_dir(checkout / "gp3d_core", quiet=1)
        for case in cases:
            if not names or case.name in names:
                failed |= not beside(case, other, options.revision, options.rounds, rows)
    return int(failed)


def training(data: Path) -> tuple[Case, ...]:
    """Each training for two lengths: the difference is the step without the start."""
    return tuple(
        Case(
            f"train, {what}, {images} images",
            lambda out, images=images, options=options: (  # type: ignore[misc]
                *("train", data, out / "run", *options, "--device", "cpu"),
                *("--set", f"training.kimg={images / 1000}"),
            ),
        )
        for what, options, lengths in TRAININGS
        for images in lengths
    )


def check_out(revision: str, folder: Path) -> Path:
    """`folder` with the files of a revision. Raises RevisionError."""
    folder.mkdir()
    archive = subprocess.Popen(
        ["git", "archive", "--format=tar", revision], cwd=HERE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    unpacked = subprocess.run(
        ["tar", "-x", "-C", folder], stdin=archive.stdout, capture_output=True, check=False
    )
    _, said = archive.communicate()
    if archive.returncode or unpacked.returncode:
        reason = " ".join((said or unpacked.stderr).decode(errors="replace").split())
        raise RevisionError(f"{revision} cannot be checked out ({reason})")
    return folder


def beside(case: Case | Served, other: Path, revision: str, rounds: int, rows: Rows) -> bool:
    """Adds the rows of a case; whether the command ended well in both revisions."""
    found: dict[str, list[Run]] = {"here": [], revision: []}
    for _ in range(rounds):
        for name, checkout in ((revision, other), ("here", HERE)):
            try:
                measure = run if isinstance(case, Case) else serve
                found[name].append(measure(case, checkout))
            except GP3DError as error:
                print(f"compare  {case.name}, {name}: left out ({error})", flush=True)
                return False
    for what, unit in (("processor", "s"), ("clock", "s"), ("memory", "MB")):
        here, there = (
            statistics.median(getattr(each, what) for each in found[name]) for name in ("here", revision)
        )
        rows.add(f"{case.name}: {what}, here", here, unit)
        rows.add(f"{case.name}: {what}, {revision}", there, unit)
        rows.add(f"{case.name}: {what}, here / {revision}", here / there, "x")
    same = len({each.files for runs in found.values() for each in runs}) == 1
    print(f"compare  {case.name}: files {'equal to the byte' if same else 'differ'}", flush=True)
    return True


def run(case: Case, checkout: Path) -> Run:
    """One command of a checkout, from nothing. Raises GP3DError when it fails."""
    with tempfile.TemporaryDirectory(prefix="gp3d-compare-") as scratch:
        out, taken = Path(scratch) / "out", Path(scratch) / "taken.json"
        out.mkdir()
        command = [sys.executable, "-m", "gp3d_core.cli", *map(str, case.arguments(out))]
        done = subprocess.run(
            [sys.executable, "-c", _LAUNCHER, taken, *command],
            cwd=checkout,
            env={**os.environ, "PYTHONPATH": str(checkout)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode:
            raise GP3DError(f"exit code {done.returncode}: {' '.join(done.stdout.split())[-200:]}")
        return Run(**json.loads(taken.read_text(encoding="utf-8")), files=digest_of(out))


def serve(case: Served, checkout: Path) -> Run:
    """The mean of `_SERVED` meshes of a warm worker of a checkout, in GLB. Raises GP3DError for an error."""
    command = [sys.executable, "-m", "gp3d_core.cli", "serve", str(MODEL), "--device", "cpu"]
    with (
        tempfile.TemporaryDirectory(prefix="gp3d-compare-") as scratch,
        subprocess.Popen(
            command,
            cwd=checkout,
            env={**os.environ, "PYTHONPATH": str(checkout)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as worker,
    ):
        for seed in range(_SERVED + 1):
            if seed == 1:
                used, began = _used(worker.pid), time.monotonic()
            request = {"id": str(seed), "op": "mesh", "class": "coffee mug", "seed": seed, "formats": ["glb"]}
            print(json.dumps({**request, **case.fields, "dir": scratch}), file=worker.stdin, flush=True)
            for event in map(json.loads, worker.stdout or ()):
                if event["event"] == "error":
                    raise GP3DError(event["message"])
                if event["event"] == "result" and event["id"] == request["id"]:
                    break
        clock, processor = time.monotonic() - began, _used(worker.pid) - used
        status = Path(f"/proc/{worker.pid}/status").read_text(encoding="utf-8").splitlines()
        peak = next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))
        worker.communicate()  # it ends, and with it what it still does in the folder
        return Run(processor / _SERVED, clock / _SERVED, peak, digest_of(Path(scratch)))


def _used(pid: int) -> float:
    """Processor seconds of a process and of its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def digest_of(folder: Path) -> str:
    """SHA-256 of all files below a folder but recipes, which name the revision, by their names and bytes."""
    found = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".json"):
        found.update(f"{path.relative_to(folder)}\0".encode() + path.read_bytes())
    return found.hexdigest()


if __name__ == "__main__":
    sys.exit(main())
