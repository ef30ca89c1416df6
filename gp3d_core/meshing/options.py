"""What meshes are made like: every option once, with its range, its default and its help.

The command line (`cli.generate`), requests to the worker (`worker.protocol`), recipes and VQ3D's scenes derive
theirs from the fields of these dataclasses, so that what one of them makes any other can make again. No torch here:
command lines and requests are read before it is imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, Self

from gp3d_core.errors import GP3DError
from gp3d_core.meshing.level import AUTO, Level
from gp3d_core.meshing.option_values import (
    Bytes,
    Corners,
    Levels,
    Number,
    OneOf,
    TwoCorners,
    Values,
    expected,
    python_number,
)

VERSION = 1  # of recipes, and of the files of meshes that hold one
COLORS = ("texture", "vertex", "both", "none")
Coloring = Literal["texture", "vertex", "both", "none"]
Auto = Literal["auto"]
COMPRESSIONS = ("none", "quantize", "meshopt")
Real = Literal["real"]
PIVOTS = ("none", "bottom", "center")
Pivot = Literal["none", "bottom", "center"]
Compression = Literal["none", "quantize", "meshopt"]
PRINT_HEIGHT = 100.0  # millimetres: what every printer has room for

_SPEC = "option"


class OptionError(GP3DError):
    """An option of a mesh that is out of its range; the message names it."""


@dataclass(frozen=True)
class Option:
    """What there is to know of an option besides its type and its default.

    `flag` is its name on command lines where that differs, `aliases` are older ones. Protocol and recipes are of
    version 1, and say `field` and `key` where these differ from the option's name. `unit` is what a command line
    counts in; an option that is not `kept` concerns the machine and not the mesh, and stands in no request and no
    recipe. `bare` is what a command line means that names the option alone.
    """

    values: Values
    help: str
    metavar: str | None = None
    flag: str | None = None
    aliases: tuple[str, ...] = ()
    field: str | None = None
    key: str | None = None
    unit: int = 1
    kept: bool = True
    bare: int | None = None


def _about(values: Values, text: str, **more: Any) -> dict[str, Option]:
    return {_SPEC: Option(values, text, **more)}


@dataclass(frozen=True, kw_only=True)
class MeshOptions:
    """How a field becomes a mesh. Raises OptionError for a value out of range.

    `faces` None: all. `components`: how many pieces stay, the largest by volume; None all, "auto" those that belong
    to the object, as `components.belonging` has it, and no specks. `texture_size` "auto" is what
    `texture.bake.fitting_size` finds; recipes hold its number. `crop_box` (x, y, z from, x, y, z to) and `crop_depth`
    (-1 near to 1 far) cut away what lies outside or behind. `max_size` (bytes of a mesh in each format) takes from
    `faces` and `texture_size` what does not fit. `lods` counts the levels of detail, the mesh itself among them;
    `collision` the convex parts, at most, of a hull, None for none; `quads` the quadrilaterals that are wanted
    instead of triangles. `size` is the object's in metres, its longest side or, "real", as things of its class have
    it; None: one of the model's units is a unit of the file. `pivot` is what lies at the origin. `compress` and
    `print_height` (millimetres, or "real") concern files of some formats alone. `max_bytes` limits the memory of the
    grid.
    """

    grid: int = field(
        default=128, metadata=_about(Number(8, 2048, whole=True), "samples along an edge of the box")
    )
    level: Level = field(
        default=AUTO,
        metadata=_about(Levels(), "density of the surface, raw:NUMBER before activation, or auto"),
    )
    faces: int | None = field(
        default=30000,
        metadata=_about(
            Number(4, 10**8, whole=True, nothing="zero"), "most faces, 0 for all", key="face_budget"
        ),
    )
    color: Coloring = field(
        default="texture", metadata=_about(OneOf(COLORS), "how the mesh carries its colours")
    )
    texture_size: int | Auto = field(
        default="auto",
        metadata=_about(
            Number(16, 8192, whole=True, words=("auto",)),
            "pixels along an edge of the texture, auto for as many as the model's colours fill",
        ),
    )
    components: int | Auto | None = field(
        default="auto",
        metadata=_about(
            Number(1, 10**6, whole=True, nothing="zero", words=("auto",)),
            "largest pieces to keep, 0 for all, auto for all but specks",
            metavar="N",
            aliases=("keep",),
            field="keep",
            key="largest",
        ),
    )
    crop_box: Corners | None = field(
        default=None,
        metadata=_about(TwoCorners(), "keep what lies between these two corners", metavar="X,Y,Z,X,Y,Z"),
    )
    crop_depth: float | Auto | None = field(
        default=None,
        metadata=_about(
            Number(-1, 1, nothing="null"), "keep what is nearer: -1 near … 1 far, or none", metavar="D"
        ),
    )
    compress: Compression = field(
        default="none",
        metadata=_about(
            OneOf(COMPRESSIONS), "glb only: quantize numbers to 16 bits, meshopt also encodes them"
        ),
    )
    print_height: float | Real = field(
        default=PRINT_HEIGHT,
        metadata=_about(
            Number(1, 100_000, words=("real",)),
            "stl and 3mf only: height in millimetres, or real: as large as the object is in the world",
            metavar="MM",
        ),
    )
    max_size: int | None = field(
        default=None,
        metadata=_about(
            Bytes(),
            "most bytes of a mesh in each format: 500k, 2M; faces and texture shrink",
            metavar="BYTES",
        ),
    )
    lods: int = field(
        default=1,
        metadata=_about(
            Number(1, 8, whole=True), "levels of detail, each with a quarter of the faces", metavar="N"
        ),
    )
    collision: int | None = field(
        default=None,
        metadata=_about(
            Number(1, 64, whole=True, nothing="zero"),
            "also a collision hull of up to so many convex parts, 16 if not said",
            metavar="N",
            bare=16,
        ),
    )
    quads: int | None = field(
        default=None,
        metadata=_about(
            Number(50, 200_000, whole=True, nothing="zero"),
            "about so many quads instead of triangles",
            metavar="N",
        ),
    )
    size: float | Real | None = field(
        default=None,
        metadata=_about(
            Number(0.0001, 10_000, nothing="null", words=("real",)),
            "longest side in metres, or real: as large as things of its class are (default: units of the model)",
            metavar="METRES",
        ),
    )
    pivot: Pivot = field(
        default="none",
        metadata=_about(
            OneOf(PIVOTS), "what lies at the origin: the middle of the lower side, or of the box"
        ),
    )
    max_bytes: int = field(
        default=4 * 2**30,
        metadata=_about(
            Number(0.1, 10**6),
            "memory that the grid may need, in GiB",
            metavar="GIB",
            flag="max-mem",
            unit=2**30,
            kept=False,
        ),
    )

    def __post_init__(self) -> None:
        for name, option in specs(type(self)).items():
            value = python_number(getattr(self, name))
            object.__setattr__(self, name, value)  # as recipes hold it
            if not option.values.accepts(value / option.unit if option.unit != 1 else value):
                fit = expected(option.values, "None") + f" times {option.unit}" * (option.unit != 1)
                raise OptionError(f"`{name}`: expected {fit}, found {value!r}")

    @classmethod
    def of_request(cls, request: Mapping[str, Any]) -> Self:
        """The options of a worker's request, whose other fields are of no concern. Raises OptionError."""
        return cls(**_read(cls, request, {name: option.field or name for name, option in _kept(cls)}))

    def to_request(self) -> dict[str, Any]:
        """The fields of a worker's request: JSON values."""
        return {
            option.field or name: option.values.to_json(getattr(self, name))
            for name, option in _kept(type(self))
        }

    @classmethod
    def of_recipe(cls, recipe: Mapping[str, Any]) -> Self:
        """The options of a recipe; those that it does not name are the defaults. Raises OptionError.

        None of a recipe is None: only requests and command lines count with 0.
        """
        return cls(**_read(cls, recipe, {name: option.key or name for name, option in _kept(cls)}))

    def to_recipe(self) -> dict[str, Any]:
        """The options as a recipe holds them: JSON values."""
        found = {}
        for name, option in _kept(type(self)):
            value = getattr(self, name)
            found[option.key or name] = None if value is None else option.values.to_json(value)
        return found


def specs(kind: type[MeshOptions]) -> dict[str, Option]:
    """The options that a kind of mesh has, by name, in their order."""
    return {entry.name: entry.metadata[_SPEC] for entry in fields(kind) if entry.init}


def defaults(kind: type[MeshOptions]) -> dict[str, Any]:
    """What each option is unless it is named."""
    return {entry.name: entry.default for entry in fields(kind) if entry.init}


def _kept(kind: type[MeshOptions]) -> list[tuple[str, Option]]:
    return [(name, option) for name, option in specs(kind).items() if option.kept]


def _read(kind: type[MeshOptions], values: Mapping[str, Any], called: Mapping[str, str]) -> dict[str, Any]:
    """The options that `values` has under the name that each is `called`."""
    options = specs(kind)
    return {name: options[name].values.of_json(values[key]) for name, key in called.items() if key in values}


@dataclass(frozen=True, kw_only=True)
class SceneMeshOptions(MeshOptions):
    """How a scene of VQ3D becomes a mesh: MeshOptions of a field whose density needs no activation, without a crop box.

    Volumes of pieces are those in the cube that the input camera sees. `crop_depth` cuts off what is farther: 1 − 2 d
    for a normalised inverse depth d, so −1 at the near plane and 1 at the far one; "auto" is the picture's backdrop.
    """

    level: Level = field(default=AUTO, metadata=_about(Levels(raw=False), "density of the surface, or auto"))
    faces: int | None = field(
        default=30000, metadata=_about(Number(4, 10**8, whole=True, nothing="zero"), "most faces, 0 for all")
    )
    crop_box: None = field(default=None, init=False)
    max_size: None = field(default=None, init=False)  # these are of objects of classes
    lods: int = field(default=1, init=False)
    collision: None = field(default=None, init=False)
    quads: None = field(default=None, init=False)
    size: None = field(default=None, init=False)
    pivot: Pivot = field(default="none", init=False)
    crop_depth: float | Auto | None = field(
        default="auto",
        metadata=_about(
            Number(-1, 1, nothing="null", words=("auto",)),
            "keep what is nearer: -1 near … 1 far, none for all, auto for all but the backdrop",
            metavar="D",
        ),
    )
