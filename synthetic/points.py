"""`python -m synthetic.points MODELS... DATASET`: points of space and whether they are solid, for every model.

Writes DATASET/points/<synset>/<model>.npz as docs/dataset.md describes it, in the world frame of the renders. Neither
waits for the other: points and renders may be made at the same time, in any order. What is there already is kept, so
the same command finishes an interrupted run. Points are a function of (seed, model) alone. Several libraries, in one
run or in several, have to agree on what their classes are.
Exit status: 0, 2 for bad input or when no model could be read, 130 or 143 if stopped by Ctrl-C or SIGTERM.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from synthetic.atomic import alone_in, write_whole
from synthetic.dataset import DatasetError, make_folder
from synthetic.dataset_index import check_place
from synthetic.layouts.permitted import permitted
from synthetic.layouts.plain import unused_in_words, unused_meshes
from synthetic.layouts.shapenet import BrokenModelError, LibraryError, Model, interleave, load_library
from synthetic.options import add_alpha_options, add_licences_option, placement_of, with_axes
from synthetic.points_folder import (
    PointsSpec,
    check_frames,
    check_points_place,
    check_treatment,
    join_models,
    open_points,
    read_models,
    write_models,
)
from synthetic.staging.stage import stage_model
from synthetic.staging.treatment import ModelLimits, Treatment
from synthetic.workers.blender_process import StopRequest
from synthetic.workers.scratch import scratch_folder

_AHEAD = 4  # models a worker that are handed out before the last is done


@dataclass(frozen=True)
class PointsResult:
    """Why a model's points could not be made, empty after they were written; by phrase how much was left out of it."""

    reason: str = ""
    notes: Counter[str] = field(default_factory=Counter)


def make_points(model: Model, spec: PointsSpec) -> PointsResult:
    """Writes a model's points. Raises OSError where the disk refuses."""
    from synthetic.checks.rays import RaySurface
    from synthetic.occupancy import sample_points, surface_points
    from synthetic.staging.sampling import SurfaceColors

    with scratch_folder("points") as folder:
        try:
            staged = stage_model(
                model.path, model.folder, folder, ModelLimits(), spec.treatment, model.placement
            )
            colors = SurfaceColors(staged.surface)
            surface = RaySurface.of(staged.surface, colors)
            positions, occupied = sample_points(
                surface, spec.points, _random(spec.seed, model.key, "points"), spec.thin
            )
            arrays: dict[str, npt.NDArray[Any]] = {"positions": positions, "occupied": occupied}
            if spec.surface:
                seen = surface_points(
                    surface, colors, spec.surface, _random(spec.seed, model.key, "surface"), spec.thin
                )
                arrays |= {
                    "surface_positions": seen.positions,
                    "surface_normals": seen.normals,
                    "surface_albedo": seen.albedo,
                }
        except BrokenModelError as error:
            return PointsResult(str(error))
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **arrays)
    spec.path(model).parent.mkdir(exist_ok=True)
    write_whole(spec.path(model), content.getvalue())
    return PointsResult(notes=staged.notes)


def _random(seed: int, key: str, purpose: str) -> np.random.Generator:
    digest = hashlib.sha256(f"{seed} {key} {purpose}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest, "big"))


def write_points(
    models: Sequence[Model], spec: PointsSpec, workers: int, stop: StopRequest
) -> dict[str, PointsResult]:
    """What became of the models whose points were missing, by key. Raises OSError, BrokenProcessPool."""
    missing = [model for model in models if not spec.path(model).exists()]
    results: dict[str, PointsResult] = {}
    with tqdm(
        total=len(models), initial=len(models) - len(missing), unit="model", smoothing=0.05, disable=None
    ) as bar:
        for model, result in _results(missing, spec, workers, stop):
            results[model.key] = result
            if result.reason:
                bar.write(f"{model.key}: {result.reason}", file=sys.stderr)
            bar.update()
    return dict(sorted(results.items()))


def _results(
    models: Iterable[Model], spec: PointsSpec, workers: int, stop: StopRequest
) -> Iterator[tuple[Model, PointsResult]]:
    """Models and what became of them, in order of their end; few are queued at a time, and none begins after a stop."""
    left = iter(models)
    context = get_context("spawn")  # Open3D's threads do not survive a fork
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_follow_leader) as pool:
        running: dict[Future[PointsResult], Model] = {}
        while True:
            room = 0 if stop.signal else _AHEAD * workers - len(running)
            with _ctrl_c_blocked():
                running |= {pool.submit(make_points, model, spec): model for model in islice(left, room)}
            if not running:
                return
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                yield running.pop(done), done.result()


def _follow_leader() -> None:
    """Ends this worker with the process that leads, however that ends: one that is killed tells nobody."""
    leader = parent_process()

    def follow() -> None:
        if leader is not None:
            leader.join()
            os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


@contextmanager
def _ctrl_c_blocked() -> Iterator[None]:
    """Inside `with`, Ctrl-C waits; processes that are started inside never see it, not even while they import."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _write_failures(folder: Path, failures: dict[str, str]) -> None:
    path = folder / "failures.jsonl"
    text = "".join(json.dumps({"model": key, "reason": why}) + "\n" for key, why in failures.items())
    if text or path.exists():
        write_whole(path, text.encode())


def _say_notes(results: Sequence[PointsResult]) -> None:
    """Prints what was left out of models or changed in them, one line a phrase."""
    counts = sum((result.notes for result in results), Counter())
    for phrase, count in sorted(counts.items()):
        holders = sum(phrase in result.notes for result in results)
        sys.stderr.write(f"{phrase}: {count}, in {holders} models\n")


def run(arguments: argparse.Namespace) -> int:
    """Does what the command line asks; the exit status.

    Raises LibraryError, DatasetError, ValueError, OSError, BrokenProcessPool.
    """
    treatment = Treatment(arguments.transparent, "fail" if arguments.surface else "color", arguments.cutouts)
    spec = PointsSpec(
        out=arguments.dataset / "points",
        points=arguments.points,
        surface=arguments.surface,
        thin=arguments.thin,
        seed=arguments.seed,
        treatment=treatment,
    )
    for name, number in (("workers", arguments.workers), ("per-class", arguments.per_class)):
        if number is not None and number < 1:
            raise ValueError(f"--{name} must be 1 or more, found {number}")
    library = load_library(*arguments.models, **placement_of(arguments))
    models, said = permitted(library, arguments.licences)
    used = {model.path for model in library}
    said += filter(None, (unused_in_words(unused_meshes(root, used)) for root in arguments.models))
    models = interleave(models, arguments.per_class)
    check_place(arguments.dataset)
    check_points_place(spec.out)
    check_treatment(arguments.dataset, treatment)
    check_frames(arguments.dataset, models)
    make_folder(spec.out)
    busy = DatasetError(f"{spec.out}: another process is writing it; wait for it")
    with alone_in(spec.out, busy), StopRequest() as stop:
        records = join_models(spec.out, read_models(spec.out), models)
        open_points(spec)
        sys.stderr.writelines(f"{line}\n" for line in said)
        try:
            results = write_points(models, spec, arguments.workers, stop)
        finally:
            write_models(spec.out, records)
        failures = {key: result.reason for key, result in results.items() if result.reason}
        _write_failures(spec.out, failures)
    _say_notes(list(results.values()))
    there = sum(spec.path(model).exists() for model in models)
    if stop.signal:
        sys.stderr.write(f"stopped; {spec.out} holds {there} models; the same command continues\n")
        return 128 + stop.signal
    if not there:
        key, reason = next(iter(failures.items()))
        sys.stderr.write(
            f"error: {arguments.models[0]}: none of {len(models)} models could be read; {key}: {reason}\n"
        )
        return 2
    failed = f"; {len(failures)} broken models, listed in failures.jsonl" if failures else ""
    sys.stderr.write(f"{spec.out} holds {there} models{failed}\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m synthetic.points",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "models",
        type=Path,
        nargs="+",
        metavar="MODELS",
        help="one or more libraries, as for synthetic.render",
    )
    parser.add_argument("dataset", type=Path, metavar="DATASET", help="dataset folder, new or not")
    parser.add_argument(
        "--points", type=int, default=PointsSpec.points, help="a model (default: %(default)s)"
    )
    parser.add_argument(
        "--surface",
        type=int,
        default=PointsSpec.surface,
        metavar="N",
        help="also so many points on the surface, with base colour and normal (default: none)",
    )
    parser.add_argument(
        "--thin",
        type=float,
        default=PointsSpec.thin,
        metavar="SHARE",
        help="of the points near and on the surface, drawn by one over the thickness of the part (default: none)",
    )
    parser.add_argument(
        "--per-class", type=int, metavar="N", help="only the first N models of each class by name"
    )
    parser.add_argument("--seed", type=int, default=PointsSpec.seed, help="default: %(default)s")
    parser.add_argument(
        "--workers",
        type=int,
        default=len(os.sched_getaffinity(0)),
        metavar="N",
        help="processes (default: one a core)",
    )
    parser.add_argument("--front", help="as for synthetic.render, where the renders were made with it")
    parser.add_argument("--up", help="likewise")
    parser.add_argument("--normalise", action=argparse.BooleanOptionalAction, default=None, help="likewise")
    add_alpha_options(parser)
    add_licences_option(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; the exit status."""
    arguments = _parser().parse_args(with_axes(sys.argv[1:] if argv is None else argv))
    try:
        return run(arguments)
    except BrokenProcessPool:
        sys.stderr.write("error: a worker died, perhaps for want of memory; the same command continues\n")
        return 2
    except (ValueError, OSError) as error:
        if isinstance(error, ValueError) and type(error) not in (ValueError, LibraryError, DatasetError):
            raise
        sys.stderr.write(f"error: {error}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main())
