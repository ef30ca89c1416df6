"""From an object to the files of its mesh, and of what belongs to it: levels of detail, a hull, a recipe, pictures."""

from __future__ import annotations

import hashlib
import re
import sys
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from PIL import Image
from tqdm import tqdm

from gp3d_core.assets.budget import FEWEST_FACES, BudgetError, Plan, fit
from gp3d_core.assets.files import write_parts
from gp3d_core.assets.finishing import Asset, finish_asset
from gp3d_core.assets.real_sizes import known_size
from gp3d_core.atomic import scratch_folder
from gp3d_core.generation.objects import (
    DEFAULT_TRUNCATION,
    ObjectSpec,
    Recipe,
    check_asset_options,
    check_mesh_files,
)
from gp3d_core.generation.recipes import combination_facts, option_facts, place_of, versions
from gp3d_core.generation.sampling import (
    SHAPELESS,
    Generated,
    barely_trained,
    generate,
    settled,
    thumbnail_of,
)
from gp3d_core.licences.page import short_credits
from gp3d_core.meshing.agreement import Agreement
from gp3d_core.meshing.components import loss_in_words
from gp3d_core.meshing.files.bundle import NO_PICTURES, bundle
from gp3d_core.meshing.files.description import UNKNOWN
from gp3d_core.meshing.files.writing import write_mesh
from gp3d_core.meshing.level import Level
from gp3d_core.meshing.mesh import Mesh
from gp3d_core.meshing.options import MeshOptions
from gp3d_core.pretrained import name_of
from gp3d_core.signals import Progress, no_progress
from gp3d_core.snapshots.snapshot import Snapshot
from gp3d_core.visualization import sheet

_LIKENESS = (  # from this silhouette IoU on; below the last but one a mesh lacks a part that one sees
    (0.95, "very well"),
    (0.85, "well"),
    (0.0, "poorly: a finer grid or more components may show what is missing"),
)
_QUAD_FORMATS = ("obj", "npz")
_SOLID_FORMATS = ("stl", "3mf")  # whose size is that of the print
# As long as a request may ask for, longer than names of classes, and such that no compression shortens it
_LONGEST_STEM = "n" + hashlib.sha512(b"name").hexdigest()[:99]
DEFAULT_OPTIONS = MeshOptions()


@torch.no_grad()
def make_asset(
    snapshot: Snapshot,
    obj: Generated,
    options: MeshOptions = DEFAULT_OPTIONS,
    formats: Sequence[str] = ("glb",),
    progress: Progress = no_progress,
) -> tuple[Asset, Recipe]:
    """The object's mesh and what belongs to it, and its recipe: everything that made it, and what it is like.

    With a `max_size` the mesh fits it in each of the `formats`, and the recipe names the faces and the texture that
    were found. `progress` hears of the stages of `finish_asset`, and may raise to stop. Raises EmptyMeshError when
    there is no surface at the level, BudgetError for a size that no mesh meets, UnknownSizeError for a class without
    a real size.
    """
    if options.max_size is None:
        return _made(snapshot, obj, options, progress)
    search = _Search(snapshot, obj, options, formats, progress)
    budget = options.max_size
    while True:
        plan = search.plan(budget)
        asset, recipe = search.whole(plan)
        over = written_size(asset.mesh, formats, recipe) - options.max_size
        if over <= 0:
            return asset, recipe
        budget -= over  # what the recipe says of levels and a hull


class _Search:
    """Meshes of an object by their plan; while one is looked for, without what does not lie in its file."""

    def __init__(
        self,
        snapshot: Snapshot,
        obj: Generated,
        options: MeshOptions,
        formats: Sequence[str],
        progress: Progress,
    ) -> None:
        self._of, self._formats, self._progress = (snapshot, obj), formats, progress
        self._options = replace(options, max_size=None)
        self._sizes: dict[Plan, int] = {}
        self._last: tuple[Plan, tuple[Asset, Recipe]] | None = None
        asset, recipe = self._make(replace(self._options, lods=1, collision=None))
        if not self._options.level.raw:  # it is found: no search for it again
            self._options = replace(self._options, level=Level(float(recipe["level"])))
        faces = len(asset.mesh.faces)
        texture = asset.mesh.texture
        self._quads = (
            bool(options.quads) and "quads_failed" not in recipe
        )  # their number is asked for, and stays
        fewest = faces if self._quads else FEWEST_FACES
        self.widest = Plan(faces, 0 if texture is None else len(texture), fewest)
        self._sizes[self.widest] = written_size(asset.mesh, formats, recipe)

    def _make(self, options: MeshOptions) -> tuple[Asset, Recipe]:
        return _made(*self._of, options, self._progress)

    def _planned(self, plan: Plan) -> MeshOptions:
        if plan == self.widest:
            return self._options
        return replace(
            self._options,
            faces=self._options.faces if self._quads else plan.faces,
            texture_size=plan.texture_size or self._options.texture_size,
        )

    def plan(self, budget: int) -> Plan:
        """The plan whose files fit a `budget` of bytes. Raises BudgetError where none does."""
        try:
            return fit(self.widest, budget, self.size)
        except BudgetError as error:
            if not self._quads:
                raise
            raise BudgetError(f"{error}; ask for fewer than {self._options.quads} `quads`") from None

    def size(self, plan: Plan) -> int:
        """Bytes of the mesh in the format in which it is largest."""
        if plan not in self._sizes:
            made = self._make(replace(self._planned(plan), lods=1, collision=None))
            self._last = plan, made
            self._sizes[plan] = written_size(made[0].mesh, self._formats, made[1])
        return self._sizes[plan]

    def whole(self, plan: Plan) -> tuple[Asset, Recipe]:
        """The asset of a plan, with all that belongs to it."""
        chosen = self._planned(plan)
        if self._last and self._last[0] == plan and chosen == replace(chosen, lods=1, collision=None):
            return self._last[1]
        return self._make(chosen)


def written_size(mesh: Mesh, formats: Sequence[str], recipe: Mapping[str, Any]) -> int:
    """Bytes of the files of `mesh` in that one of the `formats` in which they take most, under the longest name.

    Files hold their name several times, and the recipe may name a thumbnail: what is written is rather smaller.
    """
    sizes = []
    named = {**recipe, "thumbnail": f"{_LONGEST_STEM}.thumbnail.png"}
    with scratch_folder() as folder:
        for suffix in formats:
            written = write_mesh(mesh, folder / f"{_LONGEST_STEM}.{suffix}", named)
            sizes.append(sum(path.stat().st_size for path in written))
    return max(sizes)


def _made(
    snapshot: Snapshot, obj: Generated, options: MeshOptions, progress: Progress
) -> tuple[Asset, Recipe]:
    known = known_size(obj.spec.record, needed=options.size == "real")
    field = snapshot.generator.field(obj.planes)
    asset = finish_asset(field, snapshot.config, options, known, progress)
    recipe = {
        "class": obj.spec.record,
        "seed": obj.spec.seed,
        **combination_facts(obj.spec),
        "truncation": obj.truncation,
        "snapshot": name_of(snapshot.path),
        "snapshot_sha256": snapshot.digest,
        "snapshot_classes": len(snapshot.classes),
        "nimg": snapshot.nimg,
        "license": snapshot.license or UNKNOWN,
        **({"credits": credits} if (credits := short_credits(snapshot.licences)) else {}),
        **option_facts(options),
        **asset.facts,
        "versions": versions(),
    }
    return asset, cast(Recipe, recipe)


def write_meshes(
    snapshot: Snapshot,
    objects: Sequence[ObjectSpec],
    out: Path,
    *,
    formats: Sequence[str],
    truncation: float = DEFAULT_TRUNCATION,
    picture: bool = False,
    thumbnail: bool = False,
    options: MeshOptions = DEFAULT_OPTIONS,
) -> Iterator[Path]:
    """Writes every object's mesh in every format, with a recipe beside it; yields the mesh files as they are done.

    `picture` adds `<stem>.compare.png`: views of the field above those of the mesh; `thumbnail` adds
    `<stem>.thumbnail.png`, which the recipe names. An object's files appear together, or none of them. Raises
    RequestError for an unknown format, LibraryError for one that cannot be written here, UnknownSizeError for a class
    without a real size, before anything is written.
    """
    check_mesh_files(out, formats, options.compress)
    check_asset_options(objects, options)
    objects = [settled(snapshot, spec) for spec in objects]
    for spec in tqdm(objects, desc="meshes", unit="mesh", file=sys.stderr, disable=None):
        obj = generate(snapshot, spec, truncation)
        asset, recipe = make_asset(snapshot, obj, options, formats)
        paths = [out / f"{spec.stem}.{suffix}" for suffix in formats]
        pictures = {"thumbnail": thumbnail_of(snapshot, obj)} if thumbnail else {}
        if picture:
            pictures["compare"] = _comparison(asset.agreement)
        out.mkdir(parents=True, exist_ok=True)  # now that there is something to be written
        more = save_object(asset, paths, recipe, snapshot.path, pictures)
        lines = [_summary(recipe, options.level, barely_trained(snapshot)), *remarks_on(asset, formats)]
        solids = [name for name in formats if name in _SOLID_FORMATS]
        if solids and options.size is not None and options.print_height != "real":
            lines.append(
                f"{' and '.join(solids)}: {options.print_height:g} mm high, for print; as large as the others "
                "with a real print height"
            )
        for line in lines:
            tqdm.write(f"{spec.stem}: {line}", file=sys.stderr)
        yield from [*paths, *more]


def remarks_on(asset: Asset, formats: Sequence[str]) -> list[str]:
    """What to say of an asset in these formats, a line each: what differs from what was asked for, levels and hull."""
    lines = list(asset.remarks)
    if asset.facts.get("quad_faces"):
        away = asset.facts["quad_distance"]["largest"]
        halves = [name for name in formats if name not in _QUAD_FORMATS]
        lines.append(
            f"{asset.facts['quad_faces']} quads, at most {away:.2%} of the diagonal away from the triangles"
            + f"; {', '.join(halves)} hold{'s' * (len(halves) == 1)} them in halves" * bool(halves)
        )
    for number, level in enumerate(asset.facts.get("lod_levels", ()), 1):
        away = level["distance"]
        lines.append(
            f"LOD{number}: {level['faces']} faces, {away['mean']:.2%} of the diagonal away from LOD0, "
            f"at most {away['largest']:.2%}"
        )
    if hull := asset.facts.get("collision_hull"):
        lines.append(
            f"collision hull: {hull['parts']} convex parts, {hull['volume_ratio']:.2f} times the volume, "
            f"the surface at most {hull['outside']:.2%} of the diagonal outside"
        )
    return lines


def _summary(recipe: Recipe, asked: Level, barely: bool) -> str:
    level = f"{recipe['level']:.4g}"
    if asked.raw:
        level = f"{asked}, which is {level} after activation"
    likeness = "" if recipe["psnr"] is None else f"PSNR {recipe['psnr']:.1f} dB, "
    how_well = next(words for least, words in _LIKENESS if recipe["iou"] >= least)
    if barely and how_well.startswith("poorly"):
        how_well = f"poorly: {SHAPELESS}"
    loss = loss_in_words(recipe["dropped"], recipe["dropped_area"])
    return (
        f"{recipe['faces']} faces{loss}, level {level}; matches the model's own views {how_well} "
        f"({likeness}silhouette IoU {recipe['iou']:.3f})"
    )


def save_object(
    asset: Asset,
    paths: Sequence[Path],
    recipe: Recipe,
    model: Path,
    pictures: Mapping[str, Image.Image] = NO_PICTURES,
) -> list[Path]:
    """Writes an asset's mesh to `paths`, which differ in their suffix alone, and what belongs to it beside them.

    That is `<stem>.recipe.json`, and files of levels and hulls, whose paths are returned. `model` is the snapshot's
    file, which the recipe beside names by the way to it. `pictures` become `<stem>.<name>.png`. All files appear
    together, or none of them. Raises MeshError for an unknown suffix.
    """
    folder, stem = paths[0].parent, paths[0].stem
    formats = [path.suffix.removeprefix(".").lower() for path in paths]
    with bundle(asset.mesh, paths, recipe, recipe | place_of(model, folder), pictures) as files:
        names = write_parts(asset, files.path, stem, formats, recipe)
        written = {path.name for path in files.path.iterdir()}
        files.publish()
    _name_older(folder, stem, written)
    return [folder / name for name in _flat(names)]


def _name_older(folder: Path, stem: str, written: Collection[str]) -> None:
    """Warns of files of other formats or parts that an earlier mesh of that name left in `folder`."""
    belongs = re.compile(re.escape(stem) + r"(_LOD\d+|_collision|_asset)?\.[^/]+")
    older = sorted(path.name for path in folder.iterdir() if belongs.fullmatch(path.name))
    older = [name for name in older if name not in written]
    if older:
        shown = ", ".join(older[:3]) + f" and {len(older) - 3} more" * (len(older) > 3)
        warnings.warn(
            f"{folder / stem}: of an earlier mesh there {'is' if len(older) == 1 else 'are'} still {shown}",
            stacklevel=3,
        )


def _flat(names: Mapping[str, Any]) -> list[str]:
    """The names of `write_parts` one after the other."""
    levels = [name for level in names.get("lods", ()) for name in level.values()]
    return [*levels, *names.get("collision", {}).values(), *([names["asset"]] if "asset" in names else [])]


def _comparison(agreement: Agreement) -> Image.Image:
    rows = [("field", list(agreement.field)), ("mesh", list(agreement.mesh))]
    return sheet(rows, tile=agreement.field.shape[1])
