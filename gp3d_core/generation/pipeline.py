"""Objects in three lines of Python: a model, a class and a seed; then views, films and meshes.

    from gp3d_core import ObjectPipeline

    mug = ObjectPipeline.from_pretrained().generate("coffee mug", seed=7)
    mug.view(yaw=30).save("mug.png")
    mug.turntable("mug.gif")
    mug.mesh(grid=128).save("mug.glb")

The same model, class, seed and options give what `gp3d mesh` and `gp3d render` write, to the bit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypedDict, TypeVar, Unpack

from numpy.typing import NDArray
from PIL import Image

from gp3d_core.assets.finishing import Asset
from gp3d_core.datasets.imagenet import ClassRecord, choose_class
from gp3d_core.errors import renaming
from gp3d_core.generation.combinations import STRENGTH, blend, mix, variation
from gp3d_core.generation.meshes import make_asset, save_object
from gp3d_core.generation.objects import (
    DEFAULT_TRUNCATION,
    MOST_TRUNCATION,
    ObjectSpec,
    Recipe,
    RequestError,
    check_asset_options,
    check_mesh_file,
    object_specs,
    specs_of_labels,
    whole_seed,
)
from gp3d_core.generation.outputs import FRAMES
from gp3d_core.generation.sampling import Generated, generate, open_snapshot, view
from gp3d_core.generation.video import film_frames, save_film
from gp3d_core.meshing.level import Level
from gp3d_core.meshing.mesh import Mesh
from gp3d_core.meshing.option_values import Corners
from gp3d_core.meshing.options import Auto, Coloring, Compression, MeshOptions, Pivot, Real, specs
from gp3d_core.pretrained import name_of, shipped_models
from gp3d_core.signals import Progress, no_progress
from gp3d_core.snapshots.catalogue import Catalogue, catalogue
from gp3d_core.snapshots.snapshot import Snapshot, load_snapshot
from gp3d_core.visualization import rgb_to_uint8

Options = TypeVar("Options", bound=MeshOptions)
Film = Literal["turntable", "front-circle", "line", "wiggle"]


class MeshChoices(TypedDict, total=False):
    """What `mesh` takes, all of it optional; meaning, ranges and defaults stand in MeshOptions.

    level: a density, "auto", or "raw:" and a density before activation.
    """

    grid: int
    level: Level | float | str
    faces: int | None
    color: Coloring
    texture_size: int | Auto
    components: int | Auto | None
    crop_box: Corners | None
    crop_depth: float | Auto | None
    compress: Compression
    print_height: float | Real
    max_size: int | None
    lods: int
    collision: int | None
    quads: int | None
    size: float | Real | None
    pivot: Pivot
    max_bytes: int


def chosen_options(kind: type[Options], choices: Mapping[str, object]) -> Options:
    """The options of that `kind` with `choices`, whose level may be a number or a text.

    Raises OptionError for a choice out of range, TypeError for one that there is not.
    """
    given: dict[str, Any] = dict(choices)
    if "level" in given and not isinstance(given["level"], Level):
        given["level"] = specs(kind)["level"].values.of_json(given["level"])
    return kind(**given)


def size_of(mesh: Mesh) -> str:
    """How large a mesh is, in words, and what its colours are in."""
    parts = {"texture": mesh.texture, "vertex colours": mesh.vertex_colors}
    colors = [name for name, value in parts.items() if value is not None]
    return ", ".join([f"{len(mesh.vertices)} vertices", f"{len(mesh.faces)} faces", *colors])


def _named(record: ClassRecord, seed: int) -> str:
    return f"{record['name']}, seed {seed}"


class ObjectPipeline:
    """A model that makes objects.

    Example: `ObjectPipeline.from_pretrained().generate("teapot", seed=2).mesh(faces=4000).save("teapot.glb")`.
    """

    def __init__(self, snapshot: Snapshot, more: Catalogue | None = None) -> None:
        """For a snapshot that is loaded already; else see `from_pretrained`.

        `more` are models, the snapshot's first, of which one is opened when a class is asked for that it has.
        """
        self.snapshot = snapshot
        self._more = more
        self._opened = {snapshot.path: snapshot}

    def __repr__(self) -> str:
        """Which models, in a line: notebooks show it."""
        paths = [self.snapshot.path] if self._more is None else [one.path for one in self._more.models]
        names = ", ".join(map(name_of, paths))
        return f"ObjectPipeline(model{'s' * (len(paths) > 1)} {names}, {len(self.classes)} classes)"

    @classmethod
    def from_pretrained(cls, model: str | Path | None = None, *, device: str = "auto") -> ObjectPipeline:
        """The pipeline of the models that come along, or of `model`: a snapshot, or the newest of a run folder.

        `model` may be the name of one that comes along, such as "zoo". Without it every class is made by the model that
        has it, which is opened then. `device` is auto, cpu or cuda. Raises SnapshotError, RunError or PretrainedError
        for what is no model.
        """
        if model is None and len(shipped_models()) > 1:
            more = catalogue()
            return cls(open_snapshot(more.path, device), more)
        return cls(open_snapshot(None if model is None else Path(model), device))

    @property
    def classes(self) -> list[str]:
        """Names of the classes that can be asked for; none for a model without classes."""
        return [str(record["name"]) for record in self._known]

    @property
    def _known(self) -> list[ClassRecord]:
        return self.snapshot.classes if self._more is None else self._more.classes

    def generate(
        self, class_name: str | int | None = None, *, seed: int = 0, truncation: float = DEFAULT_TRUNCATION
    ) -> GeneratedObject:
        """The object that `seed` gives of a class: by name, ImageNet index or WordNet id; None without classes.

        `truncation`: from 0, the typical object of its class, to 2, the wildest; 1 is as learnt. Raises
        UnknownClassError for a class that the model does not know, RequestError for a number out of range.

        Example: `pipeline.generate("coffee mug", seed=7)`.
        """
        seed = whole_seed(seed)
        if not 0 <= truncation <= MOST_TRUNCATION:
            raise RequestError(
                f"`truncation`: expected a number from 0 to {MOST_TRUNCATION:g}, found {truncation!r}"
            )
        snapshot, spec = self._spec(class_name, seed)
        return GeneratedObject(snapshot, generate(snapshot, spec, truncation))

    def _spec(self, class_name: str | int | None, seed: int) -> tuple[Snapshot, ObjectSpec]:
        """The object that is meant, and the model that makes it."""
        known, snapshot = self._known, self.snapshot
        if class_name is None and known:
            raise RequestError(f"expected a class, one of {len(known)}, e.g. {self.classes[0]!r}; found none")
        if class_name is not None and not known:
            raise RequestError(f"{self.snapshot.path} was trained without classes; leave `class_name` out")
        if class_name is None:
            [spec] = object_specs(self.snapshot, None, [seed])
        else:
            label = choose_class(class_name, known).entry.label
            if self._more is not None and label is not None:
                [(owner, (label,))] = self._more.by_model([label])
                snapshot = self._open(owner.path)
            [spec] = specs_of_labels(snapshot, {label}, [seed])
        return snapshot, spec

    def _open(self, path: Path) -> Snapshot:
        if path not in self._opened:
            self._opened[path] = load_snapshot(path, self.snapshot.generator.mapping.w_avg.device)
        return self._opened[path]


@dataclass(frozen=True, eq=False)
class GeneratedObject:
    """An object as a radiance field, with the model that made it; see `ObjectPipeline.generate`."""

    snapshot: Snapshot
    generated: Generated

    def __repr__(self) -> str:
        """Which object, in a line: notebooks show it."""
        truncation, model = self.generated.truncation, name_of(self.snapshot.path)
        return f"GeneratedObject({_named(self.spec.record, self.spec.seed)}, truncation {truncation:g}, model {model})"

    @property
    def spec(self) -> ObjectSpec:
        """Its class, label and seed."""
        return self.generated.spec

    def view(self, *, yaw: float = 0.0, resolution: int | None = None) -> Image.Image:
        """The object in colour, from the mean camera turned by `yaw` degrees; None: `resolution` as trained.

        Example: `mug.view(yaw=90, resolution=128).save("side.png")`.
        """
        seen = view(self.snapshot, self.generated, math.radians(yaw), resolution)
        return Image.fromarray(rgb_to_uint8(seen.rgb)[0])

    def turntable(
        self,
        path: str | Path,
        *,
        kind: Film = "turntable",
        frames: int = FRAMES,
        resolution: int | None = None,
        depth: bool = False,
        normals: bool = False,
    ) -> Path:
        """The film at `path`, .gif or .mp4: the object turning, or another way of the camera (`kind`).

        `depth` and `normals` stand beside the colour. Raises RequestError for another suffix or kind, for fewer than 2
        `frames`, or for an MP4 without imageio-ffmpeg. Example: `mug.turntable("mug.gif", frames=32)`.
        """
        path = Path(path)
        with renaming({"out": "path"}):
            film = film_frames(
                self.snapshot,
                self.generated,
                kind=kind,
                frames=frames,
                resolution=resolution,
                depth=depth,
                normals=normals,
            )
            save_film(film, path)
        return path

    def blend(self, other: GeneratedObject, at: float = 0.5) -> GeneratedObject:
        """The object at `at` of the way to another one of the same model, 0 to 1.

        Raises RequestError for one of another model or truncation. Example: `mug.blend(teapot, 0.3)`.
        """
        return self._made(blend(self.spec, self._beside(other), at))

    def with_colors_of(self, other: GeneratedObject) -> GeneratedObject:
        """The object with its own shape, as far as the model tells that apart, and the colours of another one.

        Raises RequestError as `blend`, or for a model without late style codes. Example: `mug.with_colors_of(teapot)`.
        """
        return self._made(mix(self.spec, self._beside(other)))

    def variation(self, number: int, strength: float = STRENGTH) -> GeneratedObject:
        """An object much like this one, another one for every `number`; `strength` 0 to 1 says how much.

        Raises RequestError for a model without late style codes. Example: `mug.variation(1)`.
        """
        return self._made(variation(self.spec, number, strength))

    def _beside(self, other: GeneratedObject) -> ObjectSpec:
        if other.snapshot.digest != self.snapshot.digest:
            names = " and ".join(name_of(one.snapshot.path) for one in (self, other))
            raise RequestError(f"objects are combined within one model, found {names}")
        if other.generated.truncation != self.generated.truncation:
            values = f"{self.generated.truncation:g} and {other.generated.truncation:g}"
            raise RequestError(f"objects of one `truncation` are combined, found {values}")
        return other.spec

    def _made(self, spec: ObjectSpec) -> GeneratedObject:
        return GeneratedObject(self.snapshot, generate(self.snapshot, spec, self.generated.truncation))

    def mesh(self, *, progress: Progress = no_progress, **choices: Unpack[MeshChoices]) -> ObjectMesh:
        """The object's mesh; `choices` as in MeshOptions. `progress` hears of stages, see `meshes.make_asset`.

        A `max_size` is that of the GLB file. Raises OptionError for a choice out of range, TypeError for one that
        there is not, EmptyMeshError when there is no surface at the level, BudgetError for a size that no mesh meets,
        LibraryError and UnknownSizeError for what cannot be had. Example: `mug.mesh(grid=256, faces=None,
        color="vertex")`.
        """
        options = chosen_options(MeshOptions, choices)
        check_asset_options([self.spec], options)
        asset, recipe = make_asset(self.snapshot, self.generated, options, progress=progress)
        return ObjectMesh(asset, recipe, self.snapshot.path)


@dataclass(frozen=True, eq=False)
class ObjectMesh:
    """The mesh of an object and what belongs to it, the recipe that makes it again, and the file of the model."""

    asset: Asset
    recipe: Recipe
    model: Path

    def __repr__(self) -> str:
        """Which mesh, in a line: notebooks show it."""
        return f"ObjectMesh({_named(self.recipe['class'], self.recipe['seed'])}, {size_of(self.mesh)})"

    @property
    def mesh(self) -> Mesh:
        """The mesh itself; `asset` has its levels of detail and its collision hull, too."""
        return self.asset.mesh

    @property
    def vertices(self) -> NDArray[Any]:
        """Positions float32 [V,3], y up, front towards +z."""
        return self.mesh.vertices

    @property
    def faces(self) -> NDArray[Any]:
        """Vertices int32 [F,3] of every triangle, counter-clockwise from outside."""
        return self.mesh.faces

    def save(self, path: str | Path) -> Path:
        """The file written, .obj, .glb, .ply, .npz, .stl, .3mf or .usdz; `<stem>.recipe.json` beside it makes it again.

        Levels of detail and a hull go beside it. They are those of `gp3d mesh` but for the name, and appear together
        or not at all. Raises RequestError for another suffix, or where an OBJ's parts would replace other files;
        LibraryError without what the format needs. Example: `mug.mesh().save("meshes/mug.glb")`.
        """
        path = Path(path)
        check_mesh_file(path, textured=self.mesh.texture is not None)
        save_object(self.asset, [path], self.recipe, self.model)
        return path
