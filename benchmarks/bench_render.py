"""`python benchmarks/bench_render.py MODELS`: rendering against one BlenderProc process a model, and where time goes.

Processor seconds of all processes are what is compared: unlike the clock they do not depend on who else uses the
machine. Prints a table; `--record` appends the figures to benchmarks/results.csv. With `--base CHECKOUT`, whole runs of
this revision and of another one take turns, by their command lines, and nothing else is measured.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
RESULTS = REPOSITORY / "benchmarks/results.csv"
COLUMNS = ("commit", "date", "machine", "bench", "figure", "value", "unit")
SHAPENET_MODELS = 51209
sys.path.insert(0, str(REPOSITORY))

from synthetic.dataset import Settings  # noqa: E402  the path comes first
from synthetic.layouts.shapenet import Model, interleave, load_library  # noqa: E402
from synthetic.staging.treatment import ModelLimits  # noqa: E402
from synthetic.workers.blender_process import StopRequest  # noqa: E402
from synthetic.workers.executors import LocalExecutor  # noqa: E402
from synthetic.workers.run import RunResult, StopPolicy, plan, run_jobs  # noqa: E402
from synthetic.workers.worker import RenderSpec  # noqa: E402
from synthetic.workers.worker_process import RestartPolicy  # noqa: E402


@dataclass(frozen=True)
class Cost:
    """Seconds an image: the processor's and the clock's, and the processor's by stage."""

    processor: float
    clock: float
    stages: dict[str, float]


def measure(work: object) -> tuple[float, float]:
    """Processor seconds of all children of `work()`, and the clock's."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    work()  # type: ignore[operator]
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, time.monotonic() - start


def ours(models: list[Model], resolution: int, samples: int, workers: int) -> Cost:
    """A whole run over `models`, one view each, start and end of the processes included."""
    result = RunResult()
    with tempfile.TemporaryDirectory() as out, StopRequest() as stop:
        spec = RenderSpec(
            Path(out),
            Settings(resolution=resolution, samples=samples),
            ModelLimits(),
            max(1, len(os.sched_getaffinity(0)) // workers),
        )
        executor = LocalExecutor(spec, RestartPolicy(), workers)

        def work() -> None:
            run_jobs(plan(models, 1, set()), executor, StopPolicy(), stop, result, lambda *_: None)
            executor.close()

        processor, clock = measure(work)
    count = max(1, result.views)
    return Cost(processor / count, clock / count, {stage: s / count for stage, s in result.seconds.items()})


def one_process_a_model(models: list[Model], resolution: int, samples: int, denoiser: str) -> Cost:
    """The same pictures the usual way."""
    script = REPOSITORY / "benchmarks/blenderproc_process.py"

    def work() -> None:
        for model in models:
            with tempfile.TemporaryDirectory() as out:
                subprocess.run(
                    [sys.executable, script, model.path, out, str(resolution), str(samples), denoiser],
                    check=True,
                    capture_output=True,
                    timeout=600,
                )

    processor, clock = measure(work)
    return Cost(processor / len(models), clock / len(models), {})


@dataclass(frozen=True)
class Revision:
    """A checkout and the Python that has what it needs."""

    name: str
    checkout: Path
    python: Path

    def render(
        self, models: Path, out: Path, limit: int, resolution: int, samples: int, views: int
    ) -> tuple[float, float]:
        """Processor seconds an image of a whole run into `out`, and the most megabytes of one of its processes."""
        with tempfile.TemporaryFile() as log:
            command = [self.python, "-m", "synthetic.render", models, out, "--workers", "1", "--threads", "1"]
            numbers = {"limit": limit, "resolution": resolution, "samples": samples, "views": views}
            for name, number in numbers.items():
                command += [f"--{name}", str(number)]
            kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
            environment = {**kept, "PYTHONPATH": str(self.checkout)}
            process = subprocess.Popen(command, cwd=self.checkout, env=environment, stdout=log, stderr=log)
            _, status, used = os.wait4(process.pid, 0)  # with all that it has waited for
            process.returncode = os.waitstatus_to_exitcode(status)
            images = len(list(out.glob("*/*_camera.json")))
            if process.returncode or not images:
                log.seek(0)
                raise SystemExit(f"{self.checkout}: {log.read().decode(errors='replace')[-500:]}")
        return (used.ru_utime + used.ru_stime) / images, used.ru_maxrss / 1024


def side_by_side(base: Revision, arguments: argparse.Namespace) -> list[tuple[str, float, str]]:
    """Figures of both revisions, medians over the rounds in which they take turns, and their ratios.

    All that is written stays until the end: for minutes after files were removed, ext4 takes up to 1 ms longer to make
    those of a view. One model is drawn before, by which Python's bytecode is there, as it is for users.
    """
    ours, rows = Revision("here", REPOSITORY, Path(sys.executable)), []
    with tempfile.TemporaryDirectory() as folder:
        places = (Path(folder, str(number)) for number in itertools.count())
        for revision in (base, ours):
            revision.render(arguments.models, next(places), 1, 16, 1, 1)
        for resolution in arguments.resolutions:
            found: dict[str, list[tuple[float, float]]] = {ours.name: [], base.name: []}
            for _ in range(arguments.rounds):
                for revision in (base, ours):
                    sizes = (arguments.count, resolution, arguments.samples, arguments.views)
                    found[revision.name].append(revision.render(arguments.models, next(places), *sizes))
            rows += _compared(found, ours, base, arguments, resolution)
    return rows


def _compared(
    found: dict[str, list[tuple[float, float]]],
    ours: Revision,
    base: Revision,
    arguments: argparse.Namespace,
    resolution: int,
) -> list[tuple[str, float, str]]:
    of = (
        f"{arguments.models.name}, {arguments.count} models, {arguments.views} views, {resolution}px "
        f"{arguments.samples}spp"
    )
    rows = []
    for place, (figure, unit) in enumerate((("whole run", "CPU-s/image"), ("memory", "MB"))):
        of_both = {name: statistics.median(pair[place] for pair in pairs) for name, pairs in found.items()}
        rows += [(f"{figure}, {name}, {of}", value, unit) for name, value in of_both.items()]
        ratio = of_both[ours.name] / of_both[base.name]
        rows.append((f"{figure}, here to {base.name}, {of}", ratio, "x"))
    return rows


def record(rows: list[tuple[str, float, str]]) -> None:
    """Appends figures to the table of all measurements."""
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty=+"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    when = datetime.now(UTC).date().isoformat()
    machine = f"{platform.machine()} {len(os.sched_getaffinity(0))} cores"
    new = not RESULTS.exists()
    with RESULTS.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(COLUMNS)
        writer.writerows(
            (done.stdout.strip() or "none", when, machine, "render", figure, f"{value:.4g}", unit)
            for figure, value, unit in rows
        )


def show(rows: list[tuple[str, float, str]], recorded: bool) -> None:
    """Prints figures, and appends them to the table where that is asked for."""
    for figure, value, unit in rows:
        print(f"{value:10.4g} {unit:12} {figure}", flush=True)
    if recorded:
        record(rows)


def _revision(checkout: Path, python: Path | None) -> Revision:
    git = ["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"]
    name = subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    return Revision(name, checkout, python or checkout / ".venv/bin/python")


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", type=Path, metavar="MODELS", help="model library")
    parser.add_argument(
        "--count", type=int, default=200, help="models of a run of ours (default: %(default)s)"
    )
    parser.add_argument(
        "--processes", type=int, default=3, help="models done the usual way (default: %(default)s)"
    )
    parser.add_argument("--resolutions", type=int, nargs="+", default=(64, 128))
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--workers", type=int, nargs="+", default=[len(os.sched_getaffinity(0))])
    parser.add_argument("--base", type=Path, metavar="CHECKOUT", help="another revision to compare with")
    parser.add_argument(
        "--base-python", type=Path, metavar="PYTHON", help="its Python (default: .venv/bin/python there)"
    )
    parser.add_argument("--views", type=int, default=3, help="a model, with --base (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="with --base (default: %(default)s)")
    parser.add_argument("--record", action="store_true", help="append the figures to benchmarks/results.csv")
    arguments = parser.parse_args()
    arguments.models = arguments.models.resolve()
    if arguments.base:
        rows = side_by_side(_revision(arguments.base.resolve(), arguments.base_python), arguments)
        show(rows, arguments.record)
        return 0
    models = interleave(load_library(arguments.models))[: arguments.count]
    cores = len(os.sched_getaffinity(0))
    for resolution in arguments.resolutions:
        rows = []
        at = f"{resolution}px {arguments.samples}spp"
        usual = {
            denoiser: one_process_a_model(
                models[: arguments.processes], resolution, arguments.samples, denoiser
            )
            for denoiser in ("default", "none")
        }
        for denoiser, cost in usual.items():
            rows.append(
                (f"BlenderProc process a model, denoiser {denoiser}, {at}", cost.processor, "CPU-s/image")
            )
        for workers in arguments.workers:
            cost = ours(models, resolution, arguments.samples, workers)
            name = f"{workers} workers, {at}"
            rows.append((f"ours, {name}", cost.processor, "CPU-s/image"))
            rows.append((f"clock, {name}", 1 / cost.clock, "images/s"))
            rows += [
                (f"stage {stage}, {name}", seconds, "CPU-s/image") for stage, seconds in cost.stages.items()
            ]
            rows += [
                (f"ratio to denoiser {denoiser}, {name}", other.processor / cost.processor, "x")
                for denoiser, other in usual.items()
            ]
            hours = cost.processor * SHAPENET_MODELS / cores / 3600
            print(
                f"{hours:10.4g} {'h (estimate)':12} {SHAPENET_MODELS} models on {cores} idle cores, {name}",
                flush=True,
            )
        fixed = ours(models[:50], 16, 1, 1)
        rows.append(
            (
                "render call at 16px 1spp: scene, BVH and files without pixels",
                fixed.stages.get("render", 0.0),
                "CPU-s/image",
            )
        )
        show(rows, arguments.record)
    return 0


if __name__ == "__main__":
    sys.exit(main())
