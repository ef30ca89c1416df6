"""`python -m synthetic.render MODELS OUT`: renders a model library into a dataset folder.

Colour on white, exact depth and camera of every view, as docs/dataset.md describes them. What is there already
is kept, so the same command finishes an interrupted run.
Exit status: 0, 2 for bad input, 130 or 143 if stopped by Ctrl-C or SIGTERM.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from tqdm import tqdm

from synthetic.dataset import (
    DatasetError,
    Settings,
    has_view,
    open_dataset,
    view_name,
    write_index,
    write_view,
)
from synthetic.process import CapturedOutput, LeaveWithoutDestructors, StopRequest, prepare_blender
from synthetic.shapenet import (
    BrokenModelError,
    LibraryError,
    Model,
    check_model,
    interleave,
    load_library,
    split_of,
)
from synthetic.viewpoints import ViewDistribution, sample_viewpoint

if TYPE_CHECKING:
    from synthetic.scene import Studio

_LICENSE = "the licences of the source models apply"


@dataclass(frozen=True)
class Job:
    """A model and those of its views that are still to be made."""

    model: Model
    views: tuple[int, ...]


class Run:
    """One pass over jobs, with one Blender that starts when it is first needed."""

    def __init__(self, folder: Path, settings: Settings, workspace: Path, stop: StopRequest) -> None:
        """Views go to `folder`, scratch files to `workspace`; a `stop` is obeyed after the view at work."""
        self.failures: dict[str, str] = {}
        self._folder = folder
        self._settings = settings
        self._workspace = workspace
        self._log = workspace / "blender.log"
        self._stop = stop
        self._studio: Studio | None = None

    def render(self, jobs: Sequence[Job], strict: bool) -> None:
        """Renders every job; broken models are remembered in `failures`, and end the run if `strict`."""
        total = sum(len(job.views) for job in jobs)
        with tqdm(total=total, unit="view", smoothing=0.05, disable=None) as bar:
            for job in jobs:
                if self._stop.signal or (strict and self.failures):
                    return
                try:
                    self._render_model(job, bar)
                except BrokenModelError as error:
                    self.failures[job.model.key] = str(error)
                    bar.write(f"{job.model.key}: {error}", file=sys.stderr)

    def _render_model(self, job: Job, bar: tqdm[NoReturn]) -> None:
        faces = check_model(job.model.path)  # most broken models show before Blender has to be started
        with CapturedOutput(self._log):
            studio = self._studio = self._studio or _open_studio(self._settings, self._workspace)
            studio.load(job.model.path, faces)
        for view in job.views:
            if self._stop.signal:
                return
            viewpoint = sample_viewpoint(self._settings.cameras, self._settings.seed, job.model.key, view)
            with CapturedOutput(self._log):
                picture = studio.render(viewpoint)
            write_view(self._folder, job.model, view, viewpoint, picture, self._settings)
            bar.update()


def _open_studio(settings: Settings, workspace: Path) -> Studio:
    prepare_blender(workspace)
    from synthetic.scene import Studio
    return Studio(settings.resolution, settings.samples, workspace)


def plan(models: Sequence[Model], views: int, folder: Path) -> list[Job]:
    """What is still missing in `folder` of the first `views` views of every model."""
    jobs = [Job(model, tuple(view for view in range(views) if not has_view(folder, view_name(model, view))))
            for model in models]
    return [job for job in jobs if job.views]


def render_library(arguments: argparse.Namespace, settings: Settings) -> int:
    """Renders what is asked for and still missing; the exit status.

    Raises LibraryError, DatasetError, or OSError where the disk refuses.
    """
    models = [model for model in interleave(load_library(arguments.models))
              if arguments.split in ("all", split_of(model.key))][:arguments.limit]
    if not models:
        raise LibraryError(f"{arguments.models}: no model belongs to the split {arguments.split!r}")
    remembered = open_dataset(arguments.out, settings)
    jobs = plan(models, arguments.views, arguments.out)
    generator = {"name": "synthetic.render", "blender": version("bpy"), "blenderproc": version("blenderproc")}
    write_index(arguments.out, settings, remembered, generator, arguments.license)
    with tempfile.TemporaryDirectory(prefix="gp3d-render-") as workspace, StopRequest() as stop:
        run = Run(arguments.out, settings, Path(workspace), stop)
        try:
            run.render(jobs, arguments.strict)
        finally:
            tried = {job.model.key for job in jobs}
            failures = {**{key: why for key, why in remembered.items() if key not in tried}, **run.failures}
            total = write_index(arguments.out, settings, failures, generator, arguments.license)
    return _report(arguments, run.failures, total, stop.signal)


def _report(arguments: argparse.Namespace, failures: dict[str, str], total: int, signal: int | None) -> int:
    if signal:
        sys.stderr.write(f"stopped; {arguments.out} holds {total} views; the same command continues\n")
        return 128 + signal
    if failures and arguments.strict:
        key, reason = next(iter(failures.items()))
        sys.stderr.write(f"error: {key}: {reason} (stopped there, as --strict asks)\n")
        return 2
    if not total:
        sys.stderr.write(f"error: {arguments.models}: none of its {len(failures)} models could be rendered\n")
        return 2
    broken = f"; {len(failures)} broken models, listed in dataset.json" if failures else ""
    sys.stderr.write(f"{arguments.out} holds {total} views{broken}\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    paper = ViewDistribution()
    parser = argparse.ArgumentParser(prog="python -m synthetic.render", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, metavar="MODELS", help="library in ShapeNetCore.v2 layout")
    parser.add_argument("out", type=Path, metavar="OUT", help="dataset folder, new or to be continued")
    parser.add_argument("--resolution", type=int, default=64, help="pixels a side (default: %(default)s)")
    parser.add_argument("--views", type=_positive, default=1, help="views a model (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="decides the viewpoints (default: %(default)s)")
    parser.add_argument("--samples", type=int, default=16, help="light samples a pixel (default: %(default)s)")
    parser.add_argument("--limit", type=_positive, help="only this many models, the classes taking turns")
    parser.add_argument("--split", choices=("all", "train", "test"), default="all",
                        help="only one side of the stable split (default: %(default)s)")
    parser.add_argument("--strict", action="store_true", help="stop at the first broken model")
    normal = ("MEAN", "STD")
    parser.add_argument("--yaw", type=float, nargs=2, metavar=normal, default=paper.yaw, help="radians")
    parser.add_argument("--pitch", type=float, nargs=2, metavar=normal, default=paper.pitch, help="radians")
    parser.add_argument("--radius", type=float, default=paper.radius, help="of the cameras' sphere")
    parser.add_argument("--fov", type=float, default=paper.fov, help="full field of view in degrees")
    parser.add_argument("--near-far", type=float, nargs=2, metavar=("NEAR", "FAR"),
                        default=(paper.t_near, paper.t_far), help="ray distances between which depth is coded")
    parser.add_argument("--license", default=_LICENSE, help="of the models, for dataset.json")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected at least 1, found {number}")
    return number


def _settings(arguments: argparse.Namespace) -> Settings:
    (yaw, yaw_std), (pitch, pitch_std), (near, far) = arguments.yaw, arguments.pitch, arguments.near_far
    cameras = ViewDistribution(yaw=(yaw, yaw_std), pitch=(pitch, pitch_std), radius=arguments.radius,
                               fov=arguments.fov, t_near=near, t_far=far)
    return Settings(resolution=arguments.resolution, samples=arguments.samples, seed=arguments.seed,
                    cameras=cameras)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; the exit status."""
    arguments = _parser().parse_args(argv)
    try:
        settings = _settings(arguments)
    except ValueError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    try:
        return render_library(arguments, settings)
    except (LibraryError, DatasetError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2


if __name__ == "__main__":
    with LeaveWithoutDestructors():
        sys.exit(main())
