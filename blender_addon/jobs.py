"""From choices to jobs and from results to objects: what operators start and the timer finishes.

Everything here runs on Blender's main thread. `tick` is called a few times a second while there is something to wait
for; it takes what the engine has said and never waits. Scripts in background mode, where timers never fire, call
`wait` instead.
"""

from __future__ import annotations

import math
import re
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import bpy

from . import library, scene
from .class_search import ImageNetClass, find, search
from .engine.errors import Problem, RequestError
from .engine.session import Happening, Job
from .image_input import check_unchanged, chosen_files, source_of
from .mesh_bundle import Bundle, BundleError, crop, read_bundle, subject
from .properties import GRIDS, preferences
from .state import SAMPLES, STATE, redraw

MOST_OBJECTS = 500
_BUSY_INTERVAL, _REST_INTERVAL = 0.1, 1.0
_GAP = 1.25  # distance of neighbours in units of their size
_FINEST_GRID, _LARGEST_TEXTURE = 512, 8192


# The engine


def ensure_engine(context: bpy.types.Context) -> None:
    """Starts the engine unless the right one runs. Raises RequestError if there is none or it cannot start."""
    chosen = preferences(context)
    if STATE.command is None:
        STATE.look_for_engine(chosen.engine_path)
    if STATE.command is None:
        raise RequestError(STATE.complaint or "There is no engine; see the card in the GP3D tab")
    snapshot = bpy.path.abspath(chosen.snapshot)  # none: the model in the engine's box
    command = [*STATE.command, "serve", *([snapshot] if snapshot else [])]
    command += ["--device", chosen.device, "--cache-mb", str(chosen.cache_mb)]
    if STATE.session.state not in ("OFF", "EMPTY") and STATE.session.key == tuple(command):
        return
    try:
        STATE.session.start(command, tuple(command))
    except OSError as error:
        STATE.session.problem = Problem.of("E_START", f"The engine cannot be started: {error.strerror}")
        raise RequestError(STATE.session.problem.sentence) from None
    start_timer()


# The timer


def start_timer() -> None:
    """Lets `tick` run from now on."""
    if not bpy.app.background and not bpy.app.timers.is_registered(tick):
        bpy.app.timers.register(tick, first_interval=_BUSY_INTERVAL)


def stop_timer() -> None:
    """Ends it."""
    if bpy.app.timers.is_registered(tick):
        bpy.app.timers.unregister(tick)


def tick() -> float | None:
    """Takes what the engine has said; returns when to be called again, None when there is no engine."""
    happened = STATE.session.poll()
    for happening in happened:
        _handle(happening)
    if happened or STATE.session.at_work:
        redraw()
    if STATE.session.engine is None:
        redraw()
        return None
    return _BUSY_INTERVAL if STATE.session.at_work else _REST_INTERVAL


def wait(seconds: float = math.inf) -> None:
    """Blocks until all jobs have ended. For scripts only. Raises TimeoutError after `seconds`."""
    until = time.monotonic() + seconds
    while STATE.session.at_work:
        tick()
        if time.monotonic() > until:
            raise TimeoutError(f"the engine was not done after {seconds:g} s")
        time.sleep(0.02)


def cancel() -> None:
    """Gives up the job at work and all that wait."""
    for happening in STATE.session.cancel():
        _handle(happening)
    start_timer()


# Asking


def find_class(text: str) -> ImageNetClass | None:
    """The class that `text` names among those the model knows; None for a model without classes.

    As long as no model has said what it knows, any name will do: the engine will judge. Raises RequestError if there is
    no such class, with what comes nearest.
    """
    if STATE.session.ready.get("classes") == 0:
        return None
    known = STATE.classes
    entry = find(text, known)
    if entry is None and text.strip() and STATE.command is not None and not STATE.session.classes:
        return ImageNetClass(-1, "", (text.strip(),))
    if entry is None:
        near = " or ".join(match.entry.name for match in search(text, known, most=2)) if text.strip() else ""
        raise RequestError(f"The model knows no class '{text}'" + (f"; it knows {near}" if near else ""))
    return entry


def mesh_request(entry: ImageNetClass | None, seed: int, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """What the engine is asked for; everything that makes the mesh and nothing else."""
    return {
        "class": entry.query if entry else None,
        "seed": seed,
        "truncation": round(chosen["truncation"], 4),
        **surface_request(chosen),
    }


def surface_request(chosen: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a request that says how a surface is drawn."""
    return {
        "grid": GRIDS[chosen["quality"]],
        "faces": max(4, chosen["faces"]) if chosen["faces"] else 0,
        "color": chosen["color"],
        "texture_size": int(chosen["texture_size"]),
        "keep": 1 if chosen["keep_largest"] else 0,
        "crop_depth": None if chosen["depth_cut"] >= 1 else round(chosen["depth_cut"], 4),
        "formats": ["npz"],
    }


def generate(
    context: bpy.types.Context, wishes: Sequence[tuple[ImageNetClass | None, int]], chosen: Mapping[str, Any]
) -> None:
    """Asks for one mesh per class and seed. Raises RequestError if that is impossible."""
    if not 0 < len(wishes) <= MOST_OBJECTS:
        raise RequestError(f"One to {MOST_OBJECTS} objects at a time, not {len(wishes)}")
    ensure_engine(context)
    jobs = []
    for number, (entry, seed) in enumerate(wishes):
        request = mesh_request(entry, seed, chosen)
        options = {**build_options(chosen), "location": spot(context, chosen, number, len(wishes))}
        series: dict[str, Any] = {"options": options, "scene": context.scene.name}
        if options["as_asset"]:
            picture = {key: request[key] for key in ("class", "truncation")}
            jobs.append(Job("preview", {**picture, "seeds": [seed], "resolution": 256}, series))
        jobs.append(Job("mesh", request, series))
        if entry is not None:
            preferences(context).remember_class(entry.query)
    _submit(jobs)


def picture_to_mesh(context: bpy.types.Context, picture: str, chosen: Mapping[str, Any]) -> None:
    """Asks for the mesh of a photograph, of all its pieces. Raises RequestError if there is no picture."""
    files = chosen_files(context, picture)
    ensure_engine(context)
    surface = {**surface_request(chosen), "keep": "auto"}
    if surface["crop_depth"] is None and not chosen["backdrop"]:
        surface["crop_depth"] = "auto"
    options = {**build_options(chosen), "location": spot(context, chosen, 0, 1), "keep_largest": False}
    _submit([Job("picture", {**files, **surface}, {"options": options, "scene": context.scene.name})])


def build_options(chosen: Mapping[str, Any]) -> dict[str, Any]:
    """The choices that shape the object once its mesh is there."""
    names = (
        "size",
        "on_ground",
        "smooth",
        "shader",
        "roughness",
        "front",
        "collection",
        "crop",
        "keep_largest",
    )
    return {name: chosen[name] for name in (*names, "as_asset", "tags")}


def preview(context: bpy.types.Context, entry: ImageNetClass | None, chosen: Mapping[str, Any]) -> None:
    """Asks for pictures of the next seeds. Raises RequestError if that is impossible."""
    ensure_engine(context)
    STATE.pictures.clear()
    seeds = [chosen["seed"] + offset for offset in range(chosen["previews"])]
    request = {
        "class": entry.query if entry else None,
        "seeds": seeds,
        "truncation": round(chosen["truncation"], 4),
    }
    _submit([Job("preview", request, {"show": entry.name if entry else "object"})])


def regenerate(context: bpy.types.Context, thing: bpy.types.Object, higher: bool) -> None:
    """Makes the mesh of `thing` again from its recipe, finer with `higher`. Raises RequestError if it has none."""
    recipe = scene.read_recipe(thing)
    if recipe is None:
        raise RequestError("This object has no GP3D recipe")
    request, options = dict(recipe["request"]), recipe["options"]
    if "sample" in request:
        _rebuild(context, thing, read_bundle(SAMPLES / f"{request['sample']}.npz"), recipe)
        return
    if "picture" in request:
        check_unchanged(recipe)
    if higher:
        if request["grid"] >= _FINEST_GRID:
            raise RequestError("This object has the finest grid already")
        request["grid"] = min(_FINEST_GRID, 2 * request["grid"])
        request["faces"] = 2 * request["faces"]
        request["texture_size"] = min(_LARGEST_TEXTURE, 2 * request["texture_size"])
    ensure_engine(context)
    series = {"options": options, "scene": context.scene.name, "target": thing.name}
    _submit([Job("picture" if "picture" in request else "mesh", request, series)])


def _submit(jobs: Sequence[Job]) -> None:
    for job in jobs:
        job.request["dir"] = tempfile.mkdtemp(prefix="gp3d-", dir=bpy.app.tempdir)
    STATE.notice = ""
    STATE.session.submit(jobs)
    start_timer()


def spot(
    context: bpy.types.Context, chosen: Mapping[str, Any], number: int, count: int
) -> tuple[float, float, float]:
    """Where object `number` of `count` stands."""
    x, y, z = context.scene.cursor.location if chosen["place_at"] == "CURSOR" else (0.0, 0.0, 0.0)
    columns = {"ROW": count, "GRID": math.ceil(math.sqrt(count)), "STACK": 1}[chosen["arrange"]]
    step = 0.0 if chosen["arrange"] == "STACK" else _GAP * chosen["size"]
    return x + (number % columns - (columns - 1) / 2) * step, y + (number // columns) * step, z


def parse_seeds(text: str) -> list[int]:
    """Seeds of "0-3, 9". Raises RequestError for anything else."""
    seeds: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,9})(?:\s*[-–]\s*(\d{1,9}))?\s*", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not first <= last < first + MOST_OBJECTS:
            raise RequestError(f"Seeds are numbers and ranges like 0-3, 9, not '{text}'")
        seeds += range(first, last + 1)
    return seeds


def expected_seconds(context: bpy.types.Context, grid: int, color: str) -> tuple[float, bool] | None:
    """How long a mesh will take here and whether that was measured (else reckoned from another grid); None: no idea."""
    measured = preferences(context).measured()
    key = timing_key(grid, color)
    if key in measured:
        return measured[key], True
    start = key.rsplit("/", 2)[0]
    others = {name: seconds for name, seconds in measured.items() if name.startswith(f"{start}/")}
    if not others:
        return None
    name, seconds = next(reversed(others.items()))
    return seconds * max(0.3, (grid / int(name.split("/")[-2])) ** 2), False


def timing_key(grid: int, color: str) -> str:
    """Under which name seconds are remembered: model, device, grid, colour. Without an engine the last one's."""
    ready = STATE.session.ready or STATE.last_ready
    return f"{ready.get('snapshot', {}).get('sha256', '')}/{ready.get('device', '')}/{grid}/{color}"


# Results


def _handle(happening: Happening) -> None:
    job = happening.job
    if happening.kind == "ready":
        STATE.last_ready = happening.data
    elif happening.kind == "preview" and job is not None:
        _show(job, happening.data)
    elif happening.kind == "done" and job is not None and job.op != "preview":
        _import(job, happening.data)
    if (
        job is not None
        and happening.kind != "preview"
        and (job.op != "preview" or happening.kind == "cancelled")
    ):
        shutil.rmtree(job.request.get("dir", ""), ignore_errors=True)


def _show(job: Job, event: Mapping[str, Any]) -> None:
    job.context["picture"] = str(event.get("path"))
    if "show" in job.context:
        seed, truncation = int(event.get("seed", 0)), float(event.get("truncation", 0))
        STATE.add_picture(job.context["show"], seed, truncation, str(event.get("path")))


def _import(job: Job, result: Mapping[str, Any]) -> None:
    """Turns a finished mesh into an object, or gives a regenerated one to its object; one step to undo."""
    context = bpy.context
    began = time.monotonic()
    try:
        bundle = read_bundle(Path(str(result.get("files", {}).get("npz"))))
        request = {key: value for key, value in job.request.items() if key not in ("dir", "stem")}
        model = STATE.session.ready.get("snapshot", {})
        if job.op == "picture":
            model, request = source_of(result, request)
        engine = {"gp3d": STATE.session.version, "device": STATE.session.ready.get("device")}
        recipe = {
            "request": request,
            "recipe": bundle.recipe,
            "options": job.context["options"],
            "engine": engine,
            "model": model,
        }
        target = bpy.data.objects.get(job.context.get("target", ""))
        if target is not None:
            _rebuild(context, target, bundle, recipe)
        else:
            add(context, bundle, recipe, job.context.get("picture"))
    except (BundleError, RuntimeError, OSError) as error:
        STATE.session.problem = Problem.of("E_BAD_MESH", str(error))
        return
    took = STATE.session.seconds_since(job.sent)
    if job.op == "mesh":
        preferences(context).remember_seconds(timing_key(request["grid"], request["color"]), took)
    warnings = [str(warning) for warning in result.get("warnings") or []]
    STATE.notice = job.note or " ".join(warnings) or f"{len(bundle.faces):,} faces in {took:.1f} s"
    STATE.import_seconds = time.monotonic() - began
    _push_undo(context, f"GP3D {subject(bundle.recipe)}")


def add(
    context: bpy.types.Context, bundle: Bundle, recipe: dict[str, Any], picture: str | None = None
) -> bpy.types.Object:
    """A new object of `bundle` with everything that `recipe` says. Raises BundleError, OSError or RuntimeError."""
    made, options = recipe["recipe"], recipe["options"]
    name = "gp3d_{}_{}".format(re.sub(r"\W+", "_", subject(made)), made.get("seed", "picture"))
    bundle = crop(bundle, options["crop"], options["keep_largest"])
    thing = scene.add_object(context, scene.build_mesh(bundle, name, options), name, options)
    scene.write_recipe(thing, recipe)
    if options["as_asset"]:
        library.mark(thing, recipe, options["tags"].split(","))
        if picture:
            library.set_preview(thing, library.read_pixels(Path(picture)))
        elif bundle.thumbnail is not None:
            library.set_preview(thing, bundle.thumbnail)
    return thing


def _rebuild(
    context: bpy.types.Context, thing: bpy.types.Object, bundle: Bundle, recipe: dict[str, Any]
) -> None:
    options = recipe["options"]
    bundle = crop(bundle, options["crop"], options["keep_largest"])
    scene.replace_mesh(thing, scene.build_mesh(bundle, thing.data.name, options))
    scene.write_recipe(thing, recipe)


def add_sample(context: bpy.types.Context, name: str, chosen: Mapping[str, Any]) -> bpy.types.Object:
    """The bundled sample `name` as an object. Raises BundleError if there is none such."""
    bundle = read_bundle(SAMPLES / f"{name}.npz")
    options = {**build_options(chosen), "location": spot(context, chosen, 0, 1)}
    model = {"name": "sample: " + str(bundle.recipe.get("origin"))}
    return add(
        context,
        bundle,
        {"request": {"sample": name}, "recipe": bundle.recipe, "options": options, "model": model},
    )


def _push_undo(context: bpy.types.Context, message: str) -> None:
    """One step to undo. A timer has no window of its own."""
    windows = context.window_manager.windows
    with context.temp_override(window=context.window or (windows[0] if windows else None)):
        if bpy.ops.ed.undo_push.poll():
            bpy.ops.ed.undo_push(message=message)
