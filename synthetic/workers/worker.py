"""`python -m synthetic.workers.worker`: a Blender that renders the models it is told to, one JSON line a job on stdin.

The first line is an Order, every further one a Job; what happens is told in JSON lines on stdout, {"event": ...}:
"starting", "ready" (Blender is up), "loaded", "view" (one is written), then one of "done" (with a reason if a view
shows nothing of the model), "failed" (with the reason) and "stopped" (SIGTERM came; the view at work was finished).
Stages come with the processor's seconds they took, of all threads, which unlike the clock's do not depend on who else
uses the machine. Everything else Blender prints goes to stderr, which is cut to nothing at the start of each job. End
of input ends the program, and so does the end of its parent.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from synthetic.dataset import Settings, Source, write_view
from synthetic.library.shapenet import BrokenModelError, Model
from synthetic.library.staging import Limits, stage_model
from synthetic.viewpoints import room_colours, sample_viewpoint
from synthetic.workers.blender_process import LeaveWithoutDestructors, StopRequest, prepare_blender

if TYPE_CHECKING:
    from synthetic.blender_scene import Studio

_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG


@dataclass(frozen=True)
class Order:
    """What holds for all jobs of a run: where views go, what they look like, and what a model may ask for."""

    out: Path
    settings: Settings
    limits: Limits
    threads: int

    def as_json(self) -> dict[str, Any]:
        """The order as another process reads it with `from_json`."""
        return {
            "out": str(self.out),
            "settings": self.settings.as_json(),
            "limits": asdict(self.limits),
            "threads": self.threads,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Order:
        """The order that another process wrote with `as_json`."""
        return cls(
            Path(content["out"]),
            Settings.from_json(content["settings"]),
            Limits(**content["limits"]),
            content["threads"],
        )


@dataclass(frozen=True)
class Job:
    """A model and those of its views that are to be made."""

    model: Model
    views: tuple[int, ...]

    def as_json(self) -> dict[str, Any]:
        """The job as another process reads it with `from_json`."""
        return {"model": self.model.as_json(), "views": list(self.views)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Job:
        """The job that another process wrote with `as_json`."""
        return cls(Model.from_json(content["model"]), tuple(content["views"]))


class _Worker:
    """Does one job after the other, with one Blender that starts when it is first needed."""

    def __init__(self, order: Order, workspace: Path, events: IO[str], stop: StopRequest) -> None:
        self._order, self._workspace, self._events, self._stop = order, workspace, events, stop
        self._studio: Studio | None = None
        self._seconds_to_start = time.process_time()

    def do(self, job: Job) -> None:
        try:
            blank = self._render(job)
        except BrokenModelError as error:
            self._tell("failed", reason=str(error))
            return
        megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        self._tell("stopped" if self._stop.signal else "done", reason=blank, megabytes=megabytes)

    def _render(self, job: Job) -> str:
        """Renders until done or told to stop; says which view is the first that shows nothing, if one does."""
        order, model = self._order, job.model
        seconds = {"load": -time.process_time()}
        staged = stage_model(
            model.path, model.folder, self._workspace / "model", order.limits, order.settings.treatment
        )
        studio = self._studio = self._studio or self._open_studio(seconds)
        source = Source(staged.sha256, staged.faces, studio.load(staged, model.placement))
        if order.settings.stage == "room":
            studio.build_room(room_colours(order.settings.seed, model.key))
        seconds["load"] += time.process_time()
        self._tell("loaded", seconds=seconds)
        blank = ""
        for view in job.views:
            if self._stop.signal:
                break
            viewpoint = sample_viewpoint(order.settings.cameras, order.settings.seed, model.key, view)
            start = time.process_time()
            picture = studio.render(viewpoint)
            if picture is None:
                blank = blank or f"view {view:03d} shows nothing of it"
                continue
            rendered = time.process_time()
            write_view(order.out, model, view, viewpoint, picture, order.settings, source)
            self._tell("view", seconds={"render": rendered - start, "write": time.process_time() - rendered})
        return blank

    def _open_studio(self, seconds: dict[str, float]) -> Studio:
        start = time.process_time()
        self._tell("starting")
        prepare_blender(self._workspace)
        from synthetic.blender_scene import Studio

        settings = self._order.settings
        studio = Studio(
            settings.resolution, settings.samples, self._workspace, self._order.threads, settings.normals
        )
        self._tell("ready")
        opened = time.process_time() - start
        seconds["start"] = self._seconds_to_start + opened
        seconds["load"] -= opened
        return studio

    def _tell(self, event: str, **facts: Any) -> None:
        self._events.write(json.dumps({"event": event, **facts}) + "\n")
        self._events.flush()


def main() -> int:
    """Works until there is nothing more to do; the exit status."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    with os.fdopen(os.dup(1), "w") as events, StopRequest() as stop:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group; the parent decides
        os.dup2(2, 1)
        order = Order.from_json(json.loads(sys.stdin.readline()))
        worker = _Worker(order, Path(os.environ["TMPDIR"]), events, stop)
        for line in sys.stdin:
            os.ftruncate(2, 0)
            worker.do(Job.from_json(json.loads(line)))
            if stop.signal:
                break
    return 0


if __name__ == "__main__":
    with LeaveWithoutDestructors():
        sys.exit(main())
