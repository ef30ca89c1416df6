"""Runs inside a Python with the bpy wheel: installs the built extension and runs every scenario of a file.

Blender crashes when such a process ends in the ordinary way, so that it leaves by os._exit.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import importlib.util
import json
import os
import sys
import time
import traceback
import warnings
from pathlib import Path
from types import SimpleNamespace

import bpy

PATIENCE = {"silent": 3.0, "mute": 3.0}  # seconds for engines whose silence is to be noticed soon
MODULE = "bl_ext.user_default.gp3d"


def part(name: str):
    """A module of the installed add-on."""
    return importlib.import_module(f"{MODULE}.{name}")


def preferences():
    return bpy.context.preferences.addons[MODULE].preferences


def use(settings: dict[str, str], mode: str, keep: bool = False) -> None:
    """Chooses a fake engine; a session with little patience unless the old one is kept, and no pictures."""
    state = part("state").STATE
    if not keep:
        state.session.stop()
        grace = {"cancel_grace": 0.5} if mode == "deaf" else {}
        state.session = part("engine.session").Session(patience=PATIENCE.get(mode, 20.0), **grace)
    state.pictures.clear()
    state.notice = ""
    preferences().engine_path = str(Path(settings["engines"]) / mode / "gp3d") if mode else ""


def use_real(settings: dict[str, str]) -> None:
    """Chooses the real engine, which stays warm from one scenario to the next, and quick choices."""
    use(settings, "", keep=True)
    preferences().engine_path, preferences().snapshot = settings["engine"], settings["run"]
    preferences().device = "cpu"
    chosen = bpy.context.scene.gp3d
    chosen.quality, chosen.faces, chosen.texture_size = "DRAFT", 2000, "256"


def until(condition, seconds: float = 20.0) -> bool:
    """Plays the timer until `condition` holds; whether it came to hold. No tick may take long but for a mesh."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        part("engine_control").tick()
        time.sleep(0.02)
    return True


def busy_engine(state) -> int:
    """The number of the real engine's process, which has begun the first mesh of a long batch."""
    bpy.ops.gp3d.batch(batch_classes="mushroom", batch_seeds="0-20", quality="STANDARD")
    assert until(
        lambda: state.session.status.current is not None and state.session.status.current.stage != "sent", 60
    )
    return state.session.engine.pid


@contextlib.contextmanager
def window():
    """Operators do not wait for the engine, as in Blender's window."""
    state = part("state").STATE
    state.waits = False
    try:
        yield state
    finally:
        state.waits = True


def refusal(kind, call) -> str:
    """The message of the error of that kind that `call` raises."""
    try:
        call()
    except kind as error:
        return str(error)
    raise AssertionError(f"no {kind.__name__} was raised")


def alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


class Warnings:
    """Python's warnings about the add-on, which count as faults: what is deprecated, or was never closed."""

    def __init__(self) -> None:
        self.found: list[str] = []
        warnings.simplefilter("always")
        warnings.showwarning = self._show

    def _show(self, message, category, filename, lineno, file=None, line=None) -> None:
        ours = "gp3d" in filename or "scenarios_" in filename or "GP3D_" in str(message)
        if ours or issubclass(category, ResourceWarning):
            self.found.append(f"{category.__name__}: {message} ({filename}:{lineno})")

    def check(self) -> None:
        """Raises AssertionError if there was one since the last time."""
        gc.collect()
        found, self.found = self.found, []
        assert not found, "\n".join(found)


def install(zip_path: str) -> None:
    options = {"repo": "user_default", "enable_on_install": True}
    done = bpy.ops.extensions.package_install_files(filepath=zip_path, **options)
    if done != {"FINISHED"} or MODULE not in bpy.context.preferences.addons:
        raise RuntimeError(f"the extension was not installed: {done}")


def main() -> None:
    file, settings = Path(sys.argv[1]), json.loads(sys.argv[2])
    install(settings["zip"])
    spec = importlib.util.spec_from_file_location("scenarios", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    tools = SimpleNamespace(settings=settings, folder=Path(settings["folder"]), module=MODULE)
    for helper in (busy_engine, part, until, alive, window, refusal, preferences):
        setattr(tools, helper.__name__, helper)
    tools.use = lambda mode, **more: use(settings, mode, **more)
    tools.use_real = lambda: use_real(settings)
    tools.state = lambda: part("state").STATE
    results, warned = {}, Warnings()
    for name, function in list(vars(module).items()):
        if not name.startswith("scenario_"):
            continue
        try:
            bpy.ops.wm.read_homefile(use_empty=True)
            use(settings, "good", keep="engine" in settings)
            function(tools)
            warned.check()
            results[name.removeprefix("scenario_")] = "ok"
        except Exception:
            results[name.removeprefix("scenario_")] = traceback.format_exc()
        (tools.folder / "results.json").write_text(json.dumps(results))
    sys.stdout.flush()
    os._exit(0)


main()
