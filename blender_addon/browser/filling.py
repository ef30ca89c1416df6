"""Fills the seed browser: which job is next, and what becomes of what the engine sends. One job at a time."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import bpy

from ..engine.errors import Problem
from ..engine.job import Delivery, Job
from ..engine.protocol import Event
from ..seeds.stars import Stars
from ..seeds.tiles import Browser, Shot, Tile
from ..state import STATE
from . import pictures

_STARRED: dict[tuple[object, ...], set[int]] = {}
KEY = "gp3d_browser"  # of the scene's property


def stars() -> Stars:
    """The starred objects of this machine."""
    return Stars(pictures.folder() / "stars.json")


def toggle_star(tile: Tile) -> None:
    """Stars an object, or no longer. Raises OSError where that cannot be kept."""
    stars().toggle(tile)
    _STARRED.clear()


def starred() -> set[int]:
    """The numbers of the tiles that are starred; looked up once for every page: panels are drawn often."""
    browser = STATE.browser
    shown = tuple((tile.number, str(tile.wanted), tile.model) for tile in browser.page)
    if shown not in _STARRED:
        known = stars()
        _STARRED.clear()
        _STARRED[shown] = {tile.number for tile in browser.page if known.has(tile)}
    return _STARRED[shown]


def next_job() -> Job | None:
    """The job that the browser needs next, None while one is under way or there is nothing to do."""
    status = STATE.session.status
    under_way = [
        job for job in (status.current, *status.waiting) if job is not None and job.delivery.batch is not None
    ]
    if under_way or status.problem is not None:
        return None
    batch = STATE.browser.next_batch()
    if batch is None:
        return None
    request = STATE.browser.request_of(batch)
    tile = STATE.browser.of(batch.tiles[0])
    request["dir"] = tempfile.mkdtemp(prefix="gp3d-", dir=bpy.app.tempdir)
    return Job("preview", request, Delivery(batch=batch), model=tile.model if tile else "")


def handle(event: Event, job: Job) -> None:
    """Takes a picture as it comes; at the end of a job which model made them. What failed is not asked for again."""
    if event.kind == "preview":
        _arrived(job, event.data)
        return
    if event.kind == "done" and job.delivery.batch is not None:
        STATE.browser.made_by(job.delivery.batch, _model(event.data))
    elif event.kind in ("failed", "cancelled"):
        STATE.browser.filling = False
        problem = STATE.session.status.problem
        if problem is not None and problem.code == "E_COMBINE" and job.delivery.batch is not None:
            STATE.browser.give_up(job.delivery.batch)
    shutil.rmtree(str(job.request.get("dir", "")), ignore_errors=True)


def _arrived(job: Job, message: Mapping[str, object]) -> None:
    try:
        name = pictures.keep(Path(str(message.get("path"))))
    except OSError as error:
        STATE.browser.filling = False
        STATE.session.set_problem(Problem.of("E_DISK", f"The preview cannot be kept: {error.strerror}"))
        return
    if job.delivery.batch is not None:
        STATE.browser.received(job.delivery.batch, message, name)


def _model(result: Mapping[str, object]) -> str:
    """The SHA-256 of the pretrained model that made the pictures; "" for any other: its newest makes them again."""
    used = result.get("snapshot")
    if not isinstance(used, dict) or str(used.get("name", "")).endswith(".safetensors"):
        return ""
    return str(used.get("sha256", ""))


def save(scene: bpy.types.Scene) -> None:
    """Writes what is shown into a property of the scene, which is saved with the file."""
    if STATE.browser.tiles:
        scene[KEY] = STATE.browser.to_json()
    elif KEY in scene:
        del scene[KEY]


def restore(scene: bpy.types.Scene) -> None:
    """Shows what the scene of a file has kept, with those pictures that are still on this machine."""
    STATE.browser = Browser.of_json(str(scene.get(KEY, "")))
    for tile in STATE.browser.tiles:
        tile.shots = {turn: shot for turn, shot in tile.shots.items() if pictures.is_kept(shot.file)}


def tidy() -> None:
    """Deletes pictures that nobody has needed for long."""
    shown: list[Shot] = [shot for tile in STATE.browser.tiles for shot in tile.shots.values()]
    pictures.prune({shot.file for shot in shown} | stars().files())
