"""`python -m synthetic.workers.worker`: a Blender that renders the models it is sent, one JSON line a job on stdin.

The first line is a RenderSpec, every further one a RenderJob; events are JSON lines on stdout, {"event": ...}:
"starting", "ready" (Blender is up), "loaded", "drawing" (before each view), "view" (one is written) or "blank" (one
shows nothing of the model, with a reason that says which), then one of "done", "failed" (with the reason), "stopped"
(SIGTERM came; views that were begun are finished) and "full" (there is no room for what is written; with the reason).
Stages come with the processor's seconds they took, of all threads, which unlike the clock's do not depend on who else
uses the machine. Everything else Blender prints goes to stderr, which is cut to nothing at the start of each job. End
of input ends the program, and so does the end of its parent.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal, NotRequired, TypedDict

from synthetic.atomic import FULL
from synthetic.dataset import ModelSource, RenderedView, Settings, SettingsRecord, write_view
from synthetic.layouts.shapenet import BrokenModelError, Model, ModelRecord
from synthetic.staging.treatment import ModelLimits
from synthetic.surroundings.draws import SurroundingDraws
from synthetic.surroundings.settings import SurroundingFiles, SurroundingsError
from synthetic.viewpoints import room_colours, sample_viewpoint
from synthetic.workers.blender_process import (
    LeaveWithoutDestructors,
    StopRequest,
    die_with_parent,
    one_processor,
    prepare_blender,
)
from synthetic.workers.memory import keep_memory

if TYPE_CHECKING:
    from synthetic.blender.scene import BlenderScene

_GARBAGE = (
    50_000  # objects between two looks for garbage: hardly any of ours is in circles, and imports make many
)

EventName = Literal[
    "starting", "ready", "loaded", "drawing", "view", "blank", "done", "failed", "stopped", "full"
]


class WorkerEvent(TypedDict):
    """One line of a worker; `seconds` are the processor's by stage, `megabytes` the most memory it has used."""

    event: EventName
    seconds: NotRequired[dict[str, float]]
    reason: NotRequired[str]
    megabytes: NotRequired[int]


class RenderSpecRecord(TypedDict):
    """A RenderSpec as JSON."""

    out: str
    settings: SettingsRecord
    limits: dict[str, int]
    threads: int
    files: dict[str, dict[str, str]]


class RenderJobRecord(TypedDict):
    """A RenderJob as JSON."""

    model: ModelRecord
    views: list[int]


@dataclass(frozen=True)
class RenderSpec:
    """What holds for all jobs of a run: the folder for views, what they look like, limits on models, files around."""

    out: Path
    settings: Settings
    limits: ModelLimits
    threads: int
    files: SurroundingFiles = field(default_factory=SurroundingFiles)

    def as_json(self) -> RenderSpecRecord:
        """The spec as another process reads it with `from_json`."""
        return {
            "out": str(self.out),
            "settings": self.settings.as_json(),
            "limits": asdict(self.limits),
            "threads": self.threads,
            "files": self.files.as_json(),
        }

    @classmethod
    def from_json(cls, content: RenderSpecRecord) -> RenderSpec:
        """The spec that another process wrote with `as_json`."""
        return cls(
            Path(content["out"]),
            Settings.from_json(content["settings"]),
            ModelLimits(**content["limits"]),
            content["threads"],
            SurroundingFiles.from_json(content["files"]),
        )


@dataclass(frozen=True)
class RenderJob:
    """A model and the numbers of its views that are to be rendered."""

    model: Model
    views: tuple[int, ...]

    def as_json(self) -> RenderJobRecord:
        """The job as another process reads it with `from_json`."""
        return {"model": self.model.as_json(), "views": list(self.views)}

    @classmethod
    def from_json(cls, content: RenderJobRecord) -> RenderJob:
        """The job that another process wrote with `as_json`."""
        return cls(Model.from_json(content["model"]), tuple(content["views"]))


class _Worker:
    """Does one job after the other, with one Blender that starts when it is first needed."""

    def __init__(self, spec: RenderSpec, workspace: Path, events: IO[str], stop: StopRequest) -> None:
        self._spec, self._workspace, self._events, self._stop = spec, workspace, events, stop
        self._scene: BlenderScene | None = None
        self._draws = SurroundingDraws(
            spec.settings.surroundings,
            spec.files,
            spec.settings.seed,
            workspace,
            spec.limits.max_texture_side,
        )
        self._seconds_to_start = time.process_time()

    def do(self, job: RenderJob) -> None:
        try:
            self._render(job)
        except (BrokenModelError, SurroundingsError) as error:
            self._emit({"event": "failed", "reason": str(error)})
            return
        except OSError as error:
            if error.errno not in FULL:
                raise
            self._emit({"event": "full", "reason": str(error)})
            return
        megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        end: EventName = "stopped" if self._stop.signal else "done"
        self._emit({"event": end, "megabytes": megabytes})

    def _render(self, job: RenderJob) -> None:
        """Renders the views of a job until they are done or a stop is requested."""
        from synthetic.staging.stage import stage_model  # whoever sends jobs needs none of its libraries
        from synthetic.staging.surface import instances

        spec, model = self._spec, job.model
        seconds = {"load": -time.process_time()}
        staged = stage_model(
            model.path,
            model.folder,
            self._workspace / "model",
            spec.limits,
            spec.settings.treatment,
            model.placement,
        )
        scene = self._scene = self._scene or self._open_scene(seconds)
        scene.load(self._draws.stand(staged, model.key))
        named = instances(staged.surface)[1] if "instance" in spec.settings.passes else None
        source = ModelSource(staged.sha256, staged.faces, staged.to_world, staged.notes, named)
        if spec.settings.stage == "room":
            scene.build_room(room_colours(spec.settings.seed, model.key))
        seconds["load"] += time.process_time()
        self._emit({"event": "loaded", "seconds": seconds})
        apart = (
            spec.settings.surroundings.light == "hdri"
        )  # a view's own light, made ready when it is its turn
        for views in [(view,) for view in job.views] if apart else [job.views]:
            if not self._render_together(scene, model, source, views):
                return

    def _render_together(
        self, scene: BlenderScene, model: Model, source: ModelSource, views: Sequence[int]
    ) -> bool:
        """Renders and writes views of the model that is loaded; whether to go on with others."""
        settings, started = self._spec.settings, time.process_time()
        viewpoints = [sample_viewpoint(settings.cameras, settings.seed, model.key, view) for view in views]
        around = [
            self._draws.of_view(model.key, view, viewpoint, settings.resolution)
            for view, viewpoint in zip(views, viewpoints, strict=True)
        ]

        def taken(number: int, picture: RenderedView | None) -> None:
            nonlocal started
            view, viewpoint, record = views[number], viewpoints[number], around[number].record
            rendered = time.process_time()
            if picture is None:
                self._emit({"event": "blank", "reason": f"view {view:03d} shows nothing of it"})
            else:
                write_view(self._spec.out, model, view, viewpoint, picture, settings, source, record)
                cost = {"render": rendered - started, "write": time.process_time() - rendered}
                self._emit({"event": "view", "seconds": cost})
            started = time.process_time()

        return scene.render_each(viewpoints, taken, around, self._going_on)

    def _going_on(self) -> bool:
        """Whether to draw another view; whoever watches hears that the one before is drawn."""
        self._emit({"event": "drawing"})
        return not self._stop.signal

    def _open_scene(self, seconds: dict[str, float]) -> BlenderScene:
        start = time.process_time()
        self._emit({"event": "starting"})
        prepare_blender(self._workspace)
        settings = self._spec.settings
        with one_processor() if self._spec.threads == 1 else nullcontext():
            from synthetic.blender.scene import BlenderScene

            scene = BlenderScene(
                settings.resolution,
                settings.samples,
                self._workspace,
                self._spec.threads,
                normals=settings.normals,
                albedo=settings.albedo,
                passes=settings.passes,
                ground=settings.surroundings.ground != "none",
            )
        self._emit({"event": "ready"})
        opened = time.process_time() - start
        seconds["start"] = self._seconds_to_start + opened
        seconds["load"] -= opened
        return scene

    def _emit(self, event: WorkerEvent) -> None:
        self._events.write(json.dumps(event) + "\n")
        self._events.flush()


def main() -> int:
    """Works until there is nothing more to do; the exit status."""
    gc.set_threshold(_GARBAGE)
    keep_memory()
    die_with_parent()
    with os.fdopen(os.dup(1), "w") as events, StopRequest() as stop:
        for number in (signal.SIGINT, signal.SIGHUP):  # go to the whole group; the parent decides
            signal.signal(number, signal.SIG_IGN)
        os.dup2(2, 1)
        spec = RenderSpec.from_json(json.loads(sys.stdin.readline()))
        worker = _Worker(spec, Path(os.environ["TMPDIR"]), events, stop)
        for line in sys.stdin:
            os.ftruncate(2, 0)
            worker.do(RenderJob.from_json(json.loads(line)))
            if stop.signal:
                break
    return 0


if __name__ == "__main__":
    with LeaveWithoutDestructors():
        sys.exit(main())
