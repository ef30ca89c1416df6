"""`python -m synthetic.points MODELS DATASET`: points of space and whether they are solid, for every model.

Writes DATASET/points/<synset>/<model>.npz as docs/dataset.md describes it, in the world frame of the renders. Neither
waits for the other: points and renders may be made at the same time, in any order. What is there already is kept, so
the same command finishes an interrupted run. Points are a function of (seed, model) alone.
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
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from synthetic.atomic import write_whole
from synthetic.dataset import DatasetError, make_folder
from synthetic.layouts.permitted import permitted
from synthetic.layouts.shapenet import BrokenModelError, LibraryError, Model, interleave, load_library
from synthetic.options import add_alpha_options, add_licences_option, placement_of, with_axes
from synthetic.staging.stage import stage_model
from synthetic.staging.treatment import ModelLimits, Treatment
from synthetic.workers.blender_process import StopRequest

_FORMAT = "gp3d-points"
_VERSION = 1
_FEWEST, _MOST = 6, 200_000  # the most take a worker about 1 GB
_AHEAD = 4  # models a worker that are handed out before the last is done


@dataclass(frozen=True, kw_only=True)
class PointsSpec:
    """How many `points` are drawn for every model, and how many on its `surface`, by which `seed`, into which folder.

    `treatment` says what becomes of transparent parts, cut-outs and colours that are missing, which only points on
    the surface have.
    """

    out: Path
    points: int = 8192
    surface: int = 0
    seed: int = 0
    treatment: Treatment = field(default_factory=lambda: Treatment(missing_textures="color"))

    def __post_init__(self) -> None:
        """Checks the numbers once."""
        if not _FEWEST <= self.points <= _MOST:
            raise ValueError(f"--points must lie between {_FEWEST} and {_MOST}, found {self.points}")
        if not 0 <= self.surface <= _MOST:
            raise ValueError(f"--surface must lie between 0 and {_MOST}, found {self.surface}")
        if self.seed < 0:
            raise ValueError(f"--seed must be 0 or more, found {self.seed}")

    def path(self, model: Model) -> Path:
        """The file of a model's points."""
        return self.out / f"{model.key}.npz"

    def as_json(self) -> dict[str, object]:
        """What points.json says of the points."""
        return {
            "format": _FORMAT,
            "version": _VERSION,
            "points": self.points,
            "surface": self.surface,
            "seed": self.seed,
            "transparent": self.treatment.transparent,
            "cutouts": self.treatment.cutouts,
        }


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

    with TemporaryDirectory(prefix="gp3d-points-") as folder:
        try:
            staged = stage_model(
                model.path, model.folder, Path(folder), ModelLimits(), spec.treatment, model.placement
            )
            colors = SurfaceColors(staged.surface)
            surface = RaySurface.of(staged.surface, colors)
            positions, occupied = sample_points(surface, spec.points, _random(spec.seed, model.key, "points"))
            arrays: dict[str, npt.NDArray[Any]] = {"positions": positions, "occupied": occupied}
            if spec.surface:
                seen = surface_points(surface, colors, spec.surface, _random(spec.seed, model.key, "surface"))
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


def open_points(spec: PointsSpec) -> None:
    """Makes sure that the folder can take these points. Raises DatasetError where it holds others."""
    make_folder(spec.out)
    path = spec.out / "points.json"
    wanted = spec.as_json()
    usual = {
        "surface": 0,
        "transparent": "remove",
        "cutouts": "cut",
    }  # for what an older version did not write
    if path.exists():
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise DatasetError(f"{path}: is not readable as JSON ({error}); choose another folder") from None
        if not isinstance(found, dict) or {**usual, **found} != wanted:
            raise DatasetError(
                f"{path}: expected {wanted}, found {found}; ask for the same or choose another folder"
            )
    else:
        write_whole(path, (json.dumps(wanted) + "\n").encode())


def check_treatment(dataset: Path, treatment: Treatment) -> None:
    """Makes sure that renders that are there already show of the models what the points will. Raises DatasetError."""
    path = dataset / "dataset.json"
    if not path.exists():
        return
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        rendered = Treatment(**index["generator"]["settings"].get("treatment", {}))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DatasetError(
            f"{path}: is not readable as the index of a data set ({error!r}); render again"
        ) from None
    for option in ("transparent", "cutouts"):
        found, wanted = getattr(rendered, option), getattr(treatment, option)
        if found != wanted:
            raise DatasetError(
                f"{path}: was rendered with --{option} {found} (asked for: {wanted}); ask for the same"
            )


def check_frames(dataset: Path, models: Sequence[Model]) -> None:
    """Makes sure that renders that are there already stand as the points will. Raises DatasetError."""
    path = dataset / "manifest.json"
    if not path.exists():
        return
    try:
        rendered = json.loads(path.read_text(encoding="utf-8"))["models"]
        places = {
            model.key: np.array(rendered[model.key]["to_world"]) for model in models if model.key in rendered
        }
    except (ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{path}: is not readable as a manifest ({error!r}); render again") from None
    for model in models:
        if model.key in places:
            turn = places[model.key][:3, :3]
            scale = np.linalg.norm(turn[0]) if model.placement.normalise else 1.0
            if not np.allclose(turn / scale, model.placement.rotation(), atol=1e-6):
                raise DatasetError(
                    f"{path}: {model.key} was rendered with another --front, --up or --normalise; ask for the same"
                )


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
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        running: dict[Future[PointsResult], Model] = {}
        while True:
            room = 0 if stop.signal else _AHEAD * workers - len(running)
            with _ctrl_c_blocked():
                running |= {pool.submit(make_points, model, spec): model for model in islice(left, room)}
            if not running:
                return
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                yield running.pop(done), done.result()


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
        seed=arguments.seed,
        treatment=treatment,
    )
    if arguments.workers < 1:
        raise ValueError(f"--workers must be 1 or more, found {arguments.workers}")
    models, said = permitted(load_library(arguments.models, **placement_of(arguments)), arguments.licences)
    models = interleave(models)
    if (arguments.dataset / "taxonomy.json").exists():
        raise DatasetError(f"{arguments.dataset}: is a model library; choose another folder for the points")
    check_treatment(arguments.dataset, treatment)
    check_frames(arguments.dataset, models)
    open_points(spec)
    sys.stderr.writelines(f"{line}\n" for line in said)
    with StopRequest() as stop:
        results = write_points(models, spec, arguments.workers, stop)
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
            f"error: {arguments.models}: none of its {len(models)} models could be read; {key}: {reason}\n"
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
    parser.add_argument("models", type=Path, metavar="MODELS", help="the library, as for synthetic.render")
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
