"""From choices to jobs: objects, previews, pictures and regenerated objects are asked for here."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import bpy

from . import results
from .class_search import ImageNetClass, choose
from .engine.errors import RequestError
from .engine.job import Delivery, Job
from .engine_control import ensure_engine, start_timer
from .objects import scene, volume
from .pictures.input import check_unchanged, relief_files, scene_files
from .properties import preferences
from .recipe import JsonObject, op_of, pretrained_model
from .requests import (
    MOST_OBJECTS,
    Choices,
    Export,
    ObjectSpec,
    asset_preview_request,
    build_options,
    exported_stem,
    finer,
    in_metres,
    lift_request,
    location_of,
    mesh_request,
    picture_request,
    preview_request,
    towards,
)
from .state import STATE

_OF_FILES = ("formats", "thumbnail")  # fields of requests that say nothing of the surface
_OF_OBJECTS = ("class", "seed", "object", "truncation")  # fields of a request that say which object it is


def find_class(text: str, report: Callable[[str], object]) -> ImageNetClass | None:
    """The class that `text` means among those the model knows; None for a model without classes.

    `report` hears which class was taken for a word that is not its name: "mug → coffee mug". As long as no model has
    listed its classes, any word will do: the engine decides. Raises RequestError if no class or several fit, with
    what there is.
    """
    status = STATE.session.status
    if status.ready is not None and status.ready.classes == 0:
        return None
    choice = choose(text, STATE.classes)
    unsure = choice.entry is None or choice.note
    if unsure and text.strip() and STATE.command is not None and not status.classes:
        return ImageNetClass(-1, "", (text.strip(),))
    if choice.entry is None:
        raise RequestError(choice.note)
    if choice.note:
        report(choice.note)
    return choice.entry


def generate(context: bpy.types.Context, specs: Sequence[ObjectSpec], choices: Choices) -> None:
    """Asks for one mesh per object. Raises RequestError if that is impossible."""
    if not 0 < len(specs) <= MOST_OBJECTS:
        raise RequestError(f"One to {MOST_OBJECTS} objects at a time, not {len(specs)}")
    ensure_engine(context)
    metre = scene.units_of_a_metre(context)
    choices = in_metres(specs, towards(choices, scene.viewer(context)), metre)
    cursor, jobs = tuple(context.scene.cursor.location), []
    for number, spec in enumerate(specs):
        location = location_of(choices, cursor, number, len(specs))
        delivery = Delivery(build_options(choices, location, metre))
        model = spec.shown.model if spec.shown else ""
        if choices.as_asset:
            jobs.append(Job("preview", asset_preview_request(spec, choices), delivery, model=model))
        jobs.append(Job("mesh", mesh_request(spec, choices), delivery, model=model))
        if spec.entry is not None:
            preferences(context).remember_class(spec.entry.query)
    _submit(jobs)


def picture_to_mesh(context: bpy.types.Context, choices: Choices) -> None:
    """Asks for the mesh of a photograph, of all its pieces, or its relief. Raises RequestError if a file is missing."""
    machine = preferences(context)
    if choices.method == "RELIEF":
        job = Job("lift", lift_request(relief_files(choices, machine.depth_model), choices))
    else:
        job = Job("picture", picture_request(scene_files(choices, machine.vq3d), choices))
    ensure_engine(context)
    location = location_of(choices, tuple(context.scene.cursor.location), 0, 1)
    options = build_options(
        towards(choices, scene.viewer(context)), location, scene.units_of_a_metre(context)
    )
    options["keep_largest"] = False
    if job.op == "lift":  # its light is in the photograph, and it is cut by a mask alone
        options["shader"], options["crop"] = "UNLIT", 1.0
    job.delivery.options = options
    _submit([job])


def preview(context: bpy.types.Context, entry: ImageNetClass | None, choices: Choices) -> None:
    """Asks for pictures of the next seeds. Raises RequestError if that is impossible."""
    ensure_engine(context)
    STATE.pictures.clear()
    seeds = [choices.seed + offset for offset in range(choices.previews)]
    delivery = Delivery(shown_as=entry.name if entry else "object")
    _submit([Job("preview", preview_request(entry, seeds, choices), delivery)])


def check_local(obj: bpy.types.Object) -> None:
    """Raises RequestError if `obj` or its mesh belongs to another file, whose changes here no file keeps."""
    for owned in filter(None, (obj, obj.data)):
        if owned.library is not None or owned.override_library is not None:
            raise RequestError(
                f"{obj.name} is linked from another file: Object > Relations > Make Local > All"
            )


def regenerate(context: bpy.types.Context, obj: bpy.types.Object, higher: bool) -> None:
    """Makes the mesh of `obj` again from its recipe, finer with `higher`. RequestError without one, and if linked."""
    recipe = scene.read_recipe(obj)
    if recipe is None:
        raise RequestError("This object has no GP3D recipe")
    check_local(obj)
    request = recipe["request"]
    if "sample" in request:
        results.rebuild(obj, results.sample_asset(str(request["sample"])), recipe)
        return
    if "picture" in request:
        check_unchanged(recipe)
    if higher:
        request = finer(request)
    ensure_engine(context)
    kind = op_of(request)
    model = pretrained_model(recipe) if kind == "mesh" else ""
    _submit([Job(kind, request, Delivery(recipe["options"], target=obj.name), model=model)])


def examine(context: bpy.types.Context, obj: bpy.types.Object) -> None:
    """Asks how far `obj` can be relied on; of a relief that is known.

    Raises RequestError for what no engine made, and for what is linked.
    """
    recipe = scene.read_recipe(obj)
    if recipe is None or "sample" in recipe["request"]:
        raise RequestError("The engine did not make this object: nothing is known of it")
    if obj.type != "MESH" or obj.mode != "OBJECT":
        raise RequestError("Choose a mesh in Object Mode")
    check_local(obj)
    request, kind = recipe["request"], op_of(recipe["request"])
    if kind == "lift":
        results.show_relief(obj)
        return
    if kind == "picture":
        check_unchanged(recipe)
    asked: JsonObject = {key: value for key, value in request.items() if key not in _OF_FILES}
    ensure_engine(context)
    model = pretrained_model(recipe) if kind == "mesh" else ""
    op = "trust" if kind == "mesh" else "trust_picture"
    _submit([Job(op, asked, Delivery(recipe["options"], target=obj.name), model=model)])


def export(context: bpy.types.Context, obj: bpy.types.Object, path: Path, wanted: Export) -> None:
    """Lets the engine make `obj` from its recipe into the file `path`, as `wanted`, and what belongs to it.

    Raises RequestError for an object without a recipe of the engine, and for a name that no file of the engine has.
    """
    recipe = scene.read_recipe(obj)
    if recipe is None or "sample" in recipe["request"]:
        raise RequestError("The engine did not make this object; use File > Export")
    if "picture" in recipe["request"]:
        check_unchanged(recipe)
    where = {"dir": str(path.parent), "stem": exported_stem(path.name, wanted.kind)}
    ensure_engine(context)
    op = op_of(recipe["request"])
    if op == "lift" and (wanted.kind != "glb" or wanted.compress != "none" or wanted.max_kb):
        raise RequestError("A relief is exported as glTF, uncompressed and in full; others: File > Export")
    model = pretrained_model(recipe) if op == "mesh" else ""
    asked = {**recipe["request"], **wanted.request(), **where}
    _submit([Job(op, asked, Delivery(exported=True), model=model)])


def make_volume(context: bpy.types.Context, obj: bpy.types.Object, path: Path, grid: int) -> None:
    """Asks for the field of `obj` as grids, which become the OpenVDB file `path` and a Volume object in its place.

    Raises RequestError for an object that was not made of a class, and where Blender has no OpenVDB.
    """
    recipe = scene.read_recipe(obj)
    if recipe is None or "sample" in recipe["request"] or op_of(recipe["request"]) != "mesh":
        raise RequestError("A volume is of an object that the engine made of a class")
    if volume.openvdb() is None:
        raise RequestError("This Blender has no OpenVDB for Python; official ones from 4.4 on have it")
    if path.suffix.lower() != ".vdb":
        raise RequestError(f"A volume needs a name that ends in .vdb, not {path.name}")
    kept = {name: recipe["request"][name] for name in _OF_OBJECTS if name in recipe["request"]}
    ensure_engine(context)
    delivery = Delivery(target=obj.name, volume=str(path))
    _submit([Job("volume", {**kept, "grid": grid}, delivery, model=pretrained_model(recipe))])


def _submit(jobs: Sequence[Job]) -> None:
    """Sends jobs on their way, each with a folder of its own for its files unless they are to stay."""
    STATE.notice = ""
    STATE.session.submit([job if job.delivery.exported else job.asking({"dir": _folder()}) for job in jobs])
    start_timer()


def _folder() -> str:
    return tempfile.mkdtemp(prefix="gp3d-", dir=bpy.app.tempdir)
