"""From choices to what the engine is asked for. No bpy."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from .class_search import ImageNetClass
from .engine.errors import RequestError
from .recipe import BuildOptions, JsonObject, integer

GRIDS = {"DRAFT": 64, "STANDARD": 128, "HIGH": 256}  # points along an edge
RELIEF_CELLS = {name: 2 * grid for name, grid in GRIDS.items()}  # of the longer side of a picture
MOST_OBJECTS = 500
PRINTED = ("stl", "3mf")  # formats in millimetres
_PREVIEW_PIXELS = 256  # of an asset's picture
PREVIEW_YAW = round(
    math.pi / 4, 4
)  # previews look from the left of the front, radians: mugs show their handle
_FRONTS = {"NEG_Y": -90.0, "POS_X": 0.0, "POS_Y": 90.0, "NEG_X": 180.0}  # azimuths in degrees
_AIM = (
    -40.0
)  # degrees from the front to the viewer: nearly as in previews; a viewer straight ahead turns nothing
_FROM_ABOVE = 0.05  # length of a horizontal direction that says nothing
_GAP = 1.25  # distance of neighbours in units of their size
# As far as the engine goes
_FINEST_GRID, _LARGEST_TEXTURE = 2048, 8192
_FEWEST_FACES, _MOST_FACES = 4, 10**8
_FEWEST_QUADS, _MOST_QUADS = 50, 200_000
_LEAST_RATIO = 1.001
TAKES_LONGER = {"quads", "lods", "collision"}  # than is known of meshes of this grid and colour


@dataclass(frozen=True)
class Choices:
    """The choices of a scene, or those that a script gave instead; properties.py describes each."""

    class_name: str
    seed: int
    truncation: float
    quality: str
    previews: int
    faces: int
    quads: int
    lods: int
    collision: int
    crop: float
    depth_cut: float
    keep_largest: bool
    smooth: bool
    color: str
    texture_size: str
    shader: str
    roughness: float
    place_at: str
    size: float
    real_size: bool
    on_ground: bool
    front: str
    collection: bool
    batch_classes: str
    batch_seeds: str
    arrange: str
    picture: str
    method: str
    backdrop: bool
    mask: str
    depth: str
    depth_kind: str
    depth_ratio: float
    fov: float
    border: float
    as_asset: bool
    tags: str

    @property
    def class_names(self) -> list[str]:
        """Names of the classes of a batch: those it lists, else the one class."""
        return [name for name in self.batch_classes.split(",") if name.strip()] or [self.class_name]


@dataclass(frozen=True)
class Export:
    """A file that is asked for: its format, how a glb is compressed, the height in millimetres of a print, and the most
    kilobytes that it may have, 0 for any.
    """

    kind: str
    compress: str = "none"
    print_height: float = 100.0
    max_kb: int = 0

    def request(self) -> JsonObject:
        """Fields of a `mesh` or `picture` request; engines of before know no others than `formats`."""
        fields: JsonObject = {"formats": [self.kind]}
        if self.kind == "glb" and self.compress != "none":
            fields["compress"] = self.compress
        if self.kind in PRINTED:
            fields["print_height"] = round(self.print_height, 3)
        if self.max_kb:
            fields["max_size"] = 1000 * self.max_kb
        return fields


@dataclass(frozen=True)
class ObjectSpec:
    """One object that is asked for: its class, None for a model without classes, and its seed.

    What the seed browser has `shown` is made just so.
    """

    entry: ImageNetClass | None
    seed: int
    shown: Shown | None = None


@dataclass(frozen=True)
class Shown:
    """An object of the seed browser: as requests say it, with its truncation and the SHA-256 of its model, or ""."""

    wanted: JsonObject
    truncation: float
    model: str


def mesh_request(spec: ObjectSpec, choices: Choices) -> JsonObject:
    """Fields of a `mesh` request: everything that makes the mesh and nothing else."""
    drawn: JsonObject = {**_drawn(spec.entry, choices), "seed": spec.seed}
    if spec.shown is not None:
        drawn = dict(spec.shown.wanted) if "seed" in spec.shown.wanted else {"object": spec.shown.wanted}
        drawn["truncation"] = round(spec.shown.truncation, 4)
    return {**drawn, **surface_request(choices), **_asset_request(choices)}


def _asset_request(choices: Choices) -> JsonObject:
    """The fields that ask for more than a mesh of triangles; engines of before do not know them."""
    wanted: JsonObject = {}
    if choices.quads:
        wanted["quads"] = max(_FEWEST_QUADS, choices.quads)
    if choices.lods > 1 and choices.crop >= 1:  # what is cropped here has levels that are not
        wanted["lods"] = choices.lods
    if choices.collision and choices.crop >= 1:
        wanted["collision"] = choices.collision
    if choices.real_size:
        wanted["size"] = "real"
    return wanted


def preview_request(entry: ImageNetClass | None, seeds: list[int], choices: Choices) -> JsonObject:
    """Fields of a `preview` request."""
    return {**_drawn(entry, choices), "seeds": seeds, "yaw": PREVIEW_YAW}


def asset_preview_request(spec: ObjectSpec, choices: Choices) -> JsonObject:
    """Fields of a `preview` request for the picture of an asset."""
    asked = preview_request(spec.entry, [spec.seed], choices)
    if spec.shown is not None:
        asked = {
            "objects": [spec.shown.wanted],
            "truncation": round(spec.shown.truncation, 4),
            "yaw": PREVIEW_YAW,
        }
    return {**asked, "resolution": _PREVIEW_PIXELS}


def _drawn(entry: ImageNetClass | None, choices: Choices) -> JsonObject:
    return {"class": entry.query if entry else None, "truncation": round(choices.truncation, 4)}


def surface_request(choices: Choices) -> JsonObject:
    """The fields of a request that say how a surface is made."""
    return {
        "grid": GRIDS[choices.quality],
        "faces": max(_FEWEST_FACES, choices.faces) if choices.faces else 0,
        "color": choices.color,
        "texture_size": choices.texture_size if choices.texture_size == "auto" else int(choices.texture_size),
        "keep": 1 if choices.keep_largest else "auto",
        "crop_depth": None if choices.depth_cut >= 1 else round(choices.depth_cut, 4),
        "formats": ["npz"],
    }


def picture_request(files: Mapping[str, str], choices: Choices) -> JsonObject:
    """Fields of a `picture` request; `files` are its picture and tokenizer. All pieces but specks are kept."""
    surface = {**surface_request(choices), "keep": "auto"}
    if surface["crop_depth"] is None and not choices.backdrop:
        surface["crop_depth"] = "auto"
    return {**files, **surface}


def lift_request(files: Mapping[str, str], choices: Choices) -> JsonObject:
    """Fields of a `lift` request; `files` are its picture, depth map or depth model, and mask.

    What a model gives is known of the model, and a cut-out subject has no border.
    """
    wanted: JsonObject = {**files, "grid": RELIEF_CELLS[choices.quality], "formats": ["npz"]}
    kind = choices.depth_kind.lower()
    if "depth" in files:
        wanted["kind"] = kind
    if choices.depth_ratio > 0 and not ("depth" in files and kind == "metric"):
        wanted["ratio"] = round(max(_LEAST_RATIO, choices.depth_ratio), 4)
    if choices.fov > 0:
        wanted["fov"] = round(max(1.0, math.degrees(choices.fov)), 3)
    if "mask" not in files:
        wanted["border"] = round(choices.border, 4)
    return wanted


def finer(request: Mapping[str, object]) -> JsonObject:
    """A request for twice the grid, and twice the faces and texture. Raises RequestError on the finest grid."""
    grid = integer(request["grid"])
    if grid >= _FINEST_GRID:
        raise RequestError("This object has the finest grid already")
    if "texture_size" not in request:  # a relief has all cells, and the photograph itself
        return {**request, "grid": min(_FINEST_GRID, 2 * grid)}
    texture = request["texture_size"]
    quads = {"quads": min(_MOST_QUADS, 2 * integer(request["quads"]))} if "quads" in request else {}
    return {
        **request,
        **quads,
        "grid": min(_FINEST_GRID, 2 * grid),
        "faces": min(_MOST_FACES, 2 * integer(request["faces"])),
        "texture_size": texture if texture == "auto" else min(_LARGEST_TEXTURE, 2 * integer(texture)),
    }


def build_options(choices: Choices, location: tuple[float, float, float], metre: float = 1.0) -> BuildOptions:
    """The choices that shape an object once its mesh is there, where it stands, and how many units a metre has."""
    return {
        "size": choices.size,
        "on_ground": choices.on_ground,
        "smooth": choices.smooth,
        "shader": choices.shader,
        "roughness": choices.roughness,
        "front": choices.front,
        "collection": choices.collection,
        "crop": choices.crop,
        "keep_largest": choices.keep_largest,
        "as_asset": choices.as_asset,
        "tags": choices.tags,
        "location": location,
        "metre": metre,
    }


def towards(choices: Choices, viewer: tuple[float, float] | None) -> Choices:
    """The choices with a front, also where it is to be towards the view.

    `viewer` is the direction (x, y) to whoever looks, None for scripts: then, and from above, the front is -Y.
    Quarter turns only, so that objects stay in line with the axes.
    """
    if choices.front != "VIEW":
        return choices
    if viewer is None or math.hypot(*viewer) < _FROM_ABOVE:
        return replace(choices, front="NEG_Y")
    azimuth = math.degrees(math.atan2(viewer[1], viewer[0]))
    gaps = {name: abs((azimuth - own - _AIM + 180) % 360 - 180) for name, own in _FRONTS.items()}
    return replace(choices, front=min(gaps, key=lambda name: gaps[name]))


def location_of(
    choices: Choices, cursor: tuple[float, float, float], number: int, count: int
) -> tuple[float, float, float]:
    """Where object `number` (from 0) of `count` stands."""
    x, y, z = cursor if choices.place_at == "CURSOR" else (0.0, 0.0, 0.0)
    columns = {"ROW": count, "GRID": math.ceil(math.sqrt(count)), "STACK": 1}[choices.arrange]
    step = 0.0 if choices.arrange == "STACK" else _GAP * choices.size
    return x + (number % columns - (columns - 1) / 2) * step, y + (number // columns) * step, z


_OTHER_FORMATS = frozenset({"abc", "blend", "dae", "fbx", "gltf", "off", "usd", "usda", "usdc", "x3d"})


def exported_stem(name: str, kind: str) -> str:
    """The name of an exported file without its ending. Raises RequestError if the engine cannot call a file so."""
    end = f".{kind}"
    stem = name[: -len(end)] if name.lower().endswith(end) else name
    other = stem.rpartition(".")[2].lower()
    if stem == name and other in _OTHER_FORMATS:
        raise RequestError(f"The engine writes no .{other}; choose one of its formats, or File > Export")
    if not re.fullmatch(r"[\w(-][\w .()+,-]{0,99}(?<![ .])", stem) or len(stem.encode()) > 200:
        raise RequestError(
            f"'{stem}': a name of letters, digits, spaces and _-.()+, is expected, 100 at most"
        )
    return stem


def in_metres(specs: Sequence[ObjectSpec], choices: Choices, metre: float = 1.0) -> Choices:
    """The choices for objects of real size: the largest decides how far apart they stand; a metre has `metre` units.

    Raises RequestError for a class whose size nobody has stated.
    """
    if not choices.real_size:
        return choices
    metres = [(spec.entry.metres if spec.entry else None) for spec in specs]
    for spec, known in zip(specs, metres, strict=True):
        if known is None:
            name = spec.entry.name if spec.entry else "such an object"
            raise RequestError(f"How large '{name}' is in the world is not known: untick Real Size, set Size")
    return replace(choices, size=metre * max(size or 0.0 for size in metres))


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
