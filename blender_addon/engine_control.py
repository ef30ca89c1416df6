"""The running engine: started with the preferences of this machine, listened to by a timer, cancelled.

Everything here runs on Blender's main thread. `tick` is called a few times a second while there is something to wait
for; it takes what the engine has sent and never waits. Scripts in background mode, where timers never fire, call
`wait` instead.
"""

from __future__ import annotations

import math
import time

import bpy

from . import results
from .browser import filling
from .engine.errors import Problem, RequestError
from .engine.pace import Pace
from .properties import preferences
from .state import STATE, redraw

_FILLING_INTERVAL, _BUSY_INTERVAL, _REST_INTERVAL = 0.03, 0.1, 1.0  # seconds between two ticks
_ENDS = ("done", "failed", "cancelled")  # events that are the last of a job
_PACE = Pace()


def ensure_engine(context: bpy.types.Context) -> None:
    """Starts the engine unless the right one runs. Raises RequestError if there is none or it cannot start."""
    chosen, session = preferences(context), STATE.session
    if STATE.command is None:
        STATE.look_for_engine(chosen.engine_path)
    if STATE.command is None:
        raise RequestError(STATE.complaint or "There is no engine; see the card in the GP3D tab")
    snapshot = bpy.path.abspath(chosen.snapshot)  # none: the pretrained model
    command = [*STATE.command, "serve", *([snapshot] if snapshot else [])]
    command += ["--device", chosen.device, "--cache-mb", str(chosen.cache_mb)]
    if session.status.state not in ("OFF", "EMPTY") and session.command == tuple(command):
        return
    try:
        session.start(command)
    except OSError as error:
        problem = Problem.of("E_START", f"The engine cannot be started: {error.strerror}")
        session.set_problem(problem)
        raise RequestError(problem.sentence) from None
    start_timer()


def start_timer() -> None:
    """Lets `tick` run from now on, soon, also where it was at rest."""
    if not bpy.app.background:
        stop_timer()
        bpy.app.timers.register(tick, first_interval=_FILLING_INTERVAL)


def stop_timer() -> None:
    """Lets `tick` run no more."""
    if bpy.app.timers.is_registered(tick):
        bpy.app.timers.unregister(tick)


def tick() -> float | None:
    """Seconds until it is to be called again, None without an engine; hands what the engine has sent to `results`."""
    session = STATE.session
    events = session.poll()
    for event in events:
        results.handle(event)
    _ask()
    if session.engine is None:
        redraw()
        return None
    is_filling = STATE.browser.filling
    interval = (
        _FILLING_INTERVAL if is_filling else _BUSY_INTERVAL if session.status.at_work else _REST_INTERVAL
    )
    # while the seed browser fills, ticks come fast, and only what arrives is news
    news = bool(events) or (session.status.at_work and not is_filling)
    if _PACE.draws(news, time.monotonic(), interval, at_once=any(event.kind in _ENDS for event in events)):
        redraw()
    return min(interval, _BUSY_INTERVAL) if _PACE.waiting else interval


def fill() -> None:
    """Asks the engine, if one runs, for what the seed browser needs next, and listens."""
    if _ask():
        start_timer()


def _ask() -> bool:
    """Whether the engine was asked for something that the seed browser needs; one batch at a time."""
    job = None if STATE.session.engine is None else filling.next_job()
    if job is not None:
        STATE.session.submit([job])
    return job is not None


def wait(seconds: float = math.inf) -> None:
    """Blocks until all jobs have ended. For scripts only. Raises TimeoutError after `seconds`."""
    until = time.monotonic() + seconds
    while STATE.session.status.at_work:
        tick()
        if time.monotonic() > until:
            raise TimeoutError(f"the engine was not done after {seconds:g} s")
        time.sleep(0.02)


def cancel() -> None:
    """Gives up the job at work and all that wait."""
    for event in STATE.session.cancel():
        results.handle(event)
    start_timer()
