"""From the engine's results to objects in the scene and thumbnails in the panel."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Mapping
from pathlib import Path

import bpy

from .browser import filling
from .engine.errors import Problem
from .engine.job import Job
from .engine.protocol import EngineFacts, Event
from .mesh_bundle import (
    Asset,
    Bundle,
    BundleError,
    Placement,
    Relief,
    crop,
    placement,
    polygons,
    read_asset,
    read_bundle,
    read_relief,
)
from .objects import library, parts, relief, scene, volume
from .pictures.input import depth_of, source_of
from .properties import preferences
from .recipe import BuildOptions, JsonObject, Recipe, integer, number, subject
from .requests import TAKES_LONGER, Choices, build_options, location_of, towards
from .state import SAMPLES, STATE
from .timings import timing_key
from .trust import layers
from .trust.values import read_values
from .volume_grids import read_grids


def handle(event: Event) -> None:
    """Does what an event of the session asks for: shows a preview, builds an object, removes files of ended jobs."""
    job = event.job
    if event.kind == "ready":
        STATE.last_ready = STATE.session.status.ready or STATE.last_ready
    if job is None:
        return
    if job.delivery.batch is not None:
        filling.handle(event, job)
        return
    if event.kind == "preview":
        _show(job, event.data)
        return
    if job.delivery.exported:
        if event.kind == "done":
            STATE.notice = _written(event.data)
        return
    if event.kind == "done" and job.op in ("trust", "trust_picture"):
        _show_trust(job, event.data)
    elif event.kind == "done" and job.op == "volume":
        _import_volume(job, event.data)
    elif event.kind == "done" and job.op != "preview":
        _import(job, event.data)
    if job.op != "preview" or event.kind == "cancelled":  # thumbnails are shown from their files
        shutil.rmtree(str(job.request.get("dir", "")), ignore_errors=True)


def _show(job: Job, message: Mapping[str, object]) -> None:
    path, delivery = str(message.get("path")), job.delivery
    delivery.picture = path
    if delivery.shown_as:
        seed, truncation = integer(message.get("seed")), number(message.get("truncation"))
        STATE.add_picture(delivery.shown_as, seed, truncation, path)


def _import(job: Job, result: Mapping[str, object]) -> None:
    """Turns a finished mesh into an object, or gives it to the object it was made for; one step to undo."""
    context, session = bpy.context, STATE.session
    began = time.monotonic()
    try:
        recipe, asset = _read(job, result)
        target = bpy.data.objects.get(job.delivery.target)
        if target is not None:
            rebuild(target, asset, recipe)
        else:
            add(context, asset, recipe, job.delivery.picture)
    except (BundleError, RuntimeError, OSError) as error:
        session.set_problem(Problem.of("E_BAD_MESH", str(error)))
        return
    took = session.seconds_since(job.sent)
    if job.op == "mesh" and not set(job.request) & TAKES_LONGER:
        grid, color = integer(job.request["grid"]), str(job.request["color"])
        key = timing_key(session.status.ready or STATE.last_ready, grid, color)
        preferences(context).remember_seconds(key, took)
    unusual = [*filter(None, [job.note]), *_warnings(result), *_failures(job, asset, result)]
    told = f"{_told(asset)} in {took:.1f} s"
    if job.op == "lift":
        told = ". ".join([told, *(line[:1].upper() + line[1:] for line in _lines(result, "remarks"))]) + "."
    STATE.notice = " ".join(unusual) or told
    STATE.import_seconds = time.monotonic() - began
    _push_undo(context, f"GP3D {subject(asset.mesh.recipe)}")


def _show_trust(job: Job, result: Mapping[str, object]) -> None:
    """Gives an object what was found out about it; one step to undo."""
    obj = bpy.data.objects.get(job.delivery.target)
    recipe = scene.read_recipe(obj)
    if obj is None or recipe is None or obj.type != "MESH":
        STATE.notice = "The object that was examined is gone."
        return
    try:
        values = read_values(result)
        far = layers.show(obj, values, _place_of(values.mesh, recipe)[1])
    except (BundleError, RuntimeError) as error:
        STATE.session.set_problem(Problem.of("E_BAD_MESH", str(error)))
        return
    changed = f" {far:.0%} of its vertices were moved since it was made." if far > 0 else ""
    STATE.notice = f"Examined {obj.name}.{changed}"
    layers.reveal()
    _push_undo(bpy.context, "GP3D Show Trust")


def show_relief(obj: bpy.types.Object) -> None:
    """Shows what the photograph of a relief shows, and what was filled in; one step to undo."""
    layers.show_relief(obj)
    STATE.notice = f"Examined {obj.name}."
    layers.reveal()
    _push_undo(bpy.context, "GP3D Show Trust")


def _import_volume(job: Job, result: Mapping[str, object]) -> None:
    """Turns finished grids into a Volume object in the place of the object they are of; one step to undo."""
    context, session, path = bpy.context, STATE.session, Path(job.delivery.volume)
    files, mesh = result.get("files"), bpy.data.objects.get(job.delivery.target)
    library = volume.openvdb()
    try:
        if mesh is None or library is None:
            raise RuntimeError("The object that the volume is of is gone")
        grids = read_grids(Path(str(files.get("npz") if isinstance(files, dict) else None)))
        volume.write_vdb(library, grids, path)
        recipe = scene.read_recipe(mesh) or {}
        level = number(recipe.get("recipe", {}).get("level"))
        volume.add_volume(context, path, grids, level, mesh)
    except (BundleError, RuntimeError, OSError) as error:
        session.set_problem(Problem.of("E_BAD_MESH", str(error)))
        return
    took = session.seconds_since(job.sent)
    STATE.notice = f"{path.name}: {len(grids.density)}³ samples in {took:.1f} s. The mesh is hidden."
    _push_undo(context, f"GP3D volume of {mesh.name}")


def _written(result: Mapping[str, object]) -> str:
    """Which files were exported, and what the engine says about them, in one line."""
    files = result.get("files")
    names = [Path(str(path)).name for path in files.values()] if isinstance(files, dict) else []
    return " ".join([f"Wrote {', '.join(names)}.", *_warnings(result), *_lines(result, "remarks")])


def _warnings(result: Mapping[str, object]) -> list[str]:
    return _lines(result, "warnings")


def _lines(result: Mapping[str, object], name: str) -> list[str]:
    lines = result.get(name)
    return [str(line) for line in lines] if isinstance(lines, list) else []


def _failures(job: Job, asset: Asset, result: Mapping[str, object]) -> list[str]:
    """What the engine says of quads or a hull that it was asked for and that could not be had."""
    lacking = [] if asset.mesh.quads is not None else ["quads"]
    lacking += [] if asset.hull else ["collision"]
    return _lines(result, "remarks") if any(job.request.get(name) for name in lacking) else []


def _told(asset: Asset) -> str:
    """How many faces there are, and what else."""
    told = [f"{len(polygons(asset.mesh).starts):,} faces"]
    if asset.lods:
        told.append(f"{1 + len(asset.lods)} LODs")
    if asset.hull:
        told.append(f"a hull of {len(asset.hull)}")
    return ", ".join(told)


def _read(job: Job, result: Mapping[str, object]) -> tuple[Recipe, Asset]:
    """The recipe and the meshes of a result. Raises BundleError, or RuntimeError for a job without options."""
    if job.delivery.options is None:
        raise RuntimeError("the job of this mesh has no options for its object")
    asset = read_relief(result) if job.op == "lift" else read_asset(result)
    status = STATE.session.status
    facts = status.ready or EngineFacts()
    used = result.get("snapshot")  # engines of before serve one model, and do not say
    model: JsonObject = dict(used if isinstance(used, dict) else facts.snapshot)
    request = {key: value for key, value in job.request.items() if key not in ("dir", "stem")}
    if job.op == "picture":
        model, request = source_of(result, request)
    elif job.op == "lift":
        model = depth_of(asset.mesh.recipe)
    recipe: Recipe = {
        "request": request,
        "recipe": asset.mesh.recipe,
        "options": job.delivery.options,
        "engine": {"gp3d": status.version, "device": facts.device},
        "model": model,
    }
    return recipe, asset


def add(context: bpy.types.Context, asset: Asset, recipe: Recipe, picture: str = "") -> bpy.types.Object:
    """A new object of `asset` with everything that `recipe` says. Raises BundleError, OSError or RuntimeError."""
    made, options = recipe["recipe"], recipe["options"]
    kind = "relief" if isinstance(asset, Relief) else "picture"
    name = "gp3d_{}_{}".format(re.sub(r"\W+", "_", subject(made)), made.get("seed", kind))
    mesh, place = _placed(asset, recipe)
    obj = scene.add_object(context, _built(asset, mesh, name, options, place), name, options)
    _attach(obj, asset, options, place)
    scene.write_recipe(obj, recipe)
    if options["as_asset"]:
        library.mark(obj, recipe, options["tags"].split(","))
        if picture:
            library.set_preview(obj, library.read_pixels(Path(picture)))
        elif mesh.thumbnail is not None:
            library.set_preview(obj, mesh.thumbnail)
    return obj


def rebuild(obj: bpy.types.Object, asset: Asset, recipe: Recipe) -> None:
    """Gives `obj` the meshes of `asset` and the `recipe`. Raises BundleError if cropping leaves nothing."""
    options, (mesh, place) = recipe["options"], _placed(asset, recipe)
    layers.forget(obj)
    scene.replace_mesh(obj, _built(asset, mesh, obj.data.name, options, place))
    _attach(obj, asset, options, place)
    scene.write_recipe(obj, recipe)


def _built(asset: Asset, mesh: Bundle, name: str, options: BuildOptions, place: Placement) -> bpy.types.Mesh:
    """The `mesh` of an asset, cropped as it may be, in Blender."""
    if isinstance(asset, Relief):
        return relief.build_relief(asset, name, options, place)
    return scene.build_mesh(mesh, name, options, place)


def _attach(obj: bpy.types.Object, asset: Asset, options: BuildOptions, place: Placement) -> None:
    """Gives `obj` what belongs to it: a relief its camera, any other its levels and its hull."""
    if isinstance(asset, Relief):
        relief.attach_camera(obj, asset.camera, place)
    else:
        parts.attach(obj, asset, options, place)


def _placed(asset: Asset, recipe: Recipe) -> tuple[Bundle, Placement]:
    """The mesh, cropped, and where it and its parts go; one that comes in metres has as many."""
    # what is filled in reaches beyond the picture
    return _place_of(asset.mesh, recipe, asset.seen if isinstance(asset, Relief) else None)


def _place_of(bundle: Bundle, recipe: Recipe, measured: Bundle | None = None) -> tuple[Bundle, Placement]:
    """`bundle` cropped as its recipe says, and where it goes; `measured` is what has the size, if that is another."""
    options, request = recipe["options"], recipe["request"]
    in_metres = request.get("size") is not None or request.get("kind") == "metric"
    mesh = crop(bundle, options["crop"], options["keep_largest"])
    size = None if in_metres else options["size"]
    place = placement(mesh if measured is None else measured, size, options["on_ground"])
    return mesh, place._replace(scale=options.get("metre", 1.0)) if in_metres else place


def sample_asset(name: str) -> Asset:
    """The mesh of the bundled sample `name`. Raises BundleError if there is none such."""
    return Asset(read_bundle(SAMPLES / f"{name}.npz"))


def add_sample(context: bpy.types.Context, name: str, choices: Choices) -> bpy.types.Object:
    """The bundled sample `name` as an object. Raises BundleError if there is none such."""
    asset = sample_asset(name)
    location = location_of(choices, tuple(context.scene.cursor.location), 0, 1)
    options = build_options(towards(choices, scene.viewer(context)), location)
    recipe: Recipe = {
        "request": {"sample": name},
        "recipe": asset.mesh.recipe,
        "options": options,
        "model": {"name": "sample: " + str(asset.mesh.recipe.get("origin"))},
    }
    return add(context, asset, recipe)


def _push_undo(context: bpy.types.Context, message: str) -> None:
    """One step to undo. A timer has no window of its own."""
    windows = context.window_manager.windows
    with context.temp_override(window=context.window or (windows[0] if windows else None)):
        if bpy.ops.ed.undo_push.poll():
            bpy.ops.ed.undo_push(message=message)
