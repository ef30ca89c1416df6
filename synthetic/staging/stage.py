"""A model file made ready to be drawn and measured: read, its glass and doubled faces seen to, moved to our world."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from synthetic.layouts.shapenet import UNIT_BALL, BrokenModelError, Placement
from synthetic.staging.alpha import settle_alpha
from synthetic.staging.coplanar import separate_coplanar
from synthetic.staging.files import ModelFiles
from synthetic.staging.stl import read_stl
from synthetic.staging.surface import Floats, Part, ReadModel, StagedModel, Surface, double_areas, merge
from synthetic.staging.treatment import ModelLimits, Treatment
from synthetic.staging.wavefront.reader import read_obj

Reader = Callable[[ModelFiles, Treatment], ReadModel]


def _read_gltf(files: ModelFiles, treatment: Treatment) -> ReadModel:
    from synthetic.staging.gltf.reader import read_glb, read_gltf  # only where a library has such files

    return (read_glb if files.path.suffix.lower() == ".glb" else read_gltf)(files, treatment)


def _read_ply(files: ModelFiles, treatment: Treatment) -> ReadModel:
    from synthetic.staging.ply.reader import read_ply  # the same

    return read_ply(files, treatment)


READERS: dict[str, Reader] = {
    ".obj": read_obj,
    ".glb": _read_gltf,
    ".gltf": _read_gltf,
    ".ply": _read_ply,
    ".stl": read_stl,
}
_NO_AREA = 1e-15  # of the diagonal squared: triangles whose area is but rounding
_COARSEST = 1e-4  # of the diagonal: steps between a file's numbers that would show as stairs


def stage_model(
    path: Path,
    root: Path,
    workspace: Path,
    limits: ModelLimits,
    treatment: Treatment,
    placement: Placement | None = None,
    reach: float = UNIT_BALL,
) -> StagedModel:
    """What a mesh file shows, in our world frame; its textures go to the folder `workspace`, older files there go.

    Files that the model refers to have to lie below `root`. `placement` says how the file stands (as ShapeNetCore.v2
    does where None), `reach` is the farthest from the origin that a vertex may lie. Raises BrokenModelError with the
    reason in one sentence.
    """
    files = ModelFiles(path, root, workspace, limits)
    surface, model = read_surface(files, treatment)
    notes = Counter(model.notes)
    surface = settle_alpha(surface, treatment, notes)
    to_world = _to_world(surface, placement or Placement(), max(part.step for part in model.parts))
    surface = _moved(surface, to_world)
    surface = _drop_degenerate(surface, _NO_AREA * _box(surface)[2] ** 2, notes)
    farthest = float(np.linalg.norm(np.ascontiguousarray(surface.positions.T), axis=0).max())
    if not farthest <= reach:
        raise BrokenModelError(
            f"a vertex lies {farthest:.3g} from the origin, expected at most {reach:.3g}: "
            "normalise the model to a box of diagonal 1"
        )
    return StagedModel(separate_coplanar(surface, notes), to_world, model.faces, files.sha256, notes)


def read_surface(files: ModelFiles, treatment: Treatment) -> tuple[Surface, ReadModel]:
    """All triangles of a mesh file that have an area, in its own coordinates, glass as it is, and what was read.

    Its textures go to the workspace of `files`, older files there go. Raises BrokenModelError.
    """
    files.clear()
    path = files.path
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise BrokenModelError(f"{path.name}: expected one of {', '.join(READERS)}")
    model = reader(files, treatment)
    if not model.parts or not sum(len(part.triangles) for part in model.parts):
        raise BrokenModelError(f"{path.name} has no faces")
    for part in model.parts:
        _check_numbers(part, path.name)
    return _drop_degenerate(merge(model.parts, model.materials), 0.0, model.notes), model


def _check_numbers(part: Part, name: str) -> None:
    """Raises BrokenModelError where a part's arrays do not make a surface."""
    if not len(part.triangles):
        return
    count = len(part.positions)
    if part.triangles.min() < 0 or part.triangles.max() >= count:
        raise BrokenModelError(f"{name} has a face with a corner that is none of its {count} vertices")
    if not np.isfinite(part.positions).all() and not np.isfinite(part.positions[part.triangles]).all():
        raise BrokenModelError(f"{name} has a vertex that is not finite")
    for values in (part.colors, part.normals, *part.uvs):
        if values is not None and not np.isfinite(values).all():
            raise BrokenModelError(f"{name} has a colour, normal or texture coordinate that is not finite")


def _drop_degenerate(surface: Surface, least: float, notes: Counter[str]) -> Surface:
    """The surface without faces that have no area (at most `least`), which no ray hits."""
    with np.errstate(over="ignore", invalid="ignore"):
        keep = double_areas(surface.positions, surface.triangles) > least
    if not keep.any():
        raise BrokenModelError("none of its faces has an area")
    if not keep.all():
        notes["faces without area dropped"] += int((~keep).sum())
    return surface.subset(keep)


def _box(surface: Surface) -> tuple[Floats, Floats, float]:
    """The lowest and highest corner of the box around a surface, and its diagonal."""
    along = np.ascontiguousarray(surface.positions.T)  # many times as fast as along the first axis
    low, high = along.min(axis=1), along.max(axis=1)
    with np.errstate(over="ignore"):
        return low, high, float(np.linalg.norm(high - low))


def _to_world(surface: Surface, placement: Placement, step: float) -> Floats:
    """[4,4] from the file to the world; with `normalise` the box around what is left is centred, its diagonal 1."""
    matrix = np.eye(4)
    matrix[:3, :3] = placement.rotation()
    low, high, diagonal = _box(surface)
    if not (np.isfinite(diagonal) and diagonal > 0):
        raise BrokenModelError(f"the box around it has a diagonal of {diagonal:g}")
    step = max(step, float(np.spacing(np.abs([low, high]).max())))
    if step > _COARSEST * diagonal:
        raise BrokenModelError(
            f"it lies {np.abs([low, high]).max() / diagonal:.1g} times its own size from the origin, where the "
            "numbers of its file have rounded its shape away; move it to the origin where it was made"
        )
    if placement.normalise:
        shift = np.eye(4)
        shift[:3] = np.column_stack([np.eye(3), -(low + high) / 2]) / diagonal
        matrix = matrix @ shift
    return matrix


def _moved(surface: Surface, to_world: Floats) -> Surface:
    """The surface in the world frame; `to_world` turns, scales evenly and shifts."""
    positions, normals = surface.positions @ to_world[:3, :3].T + to_world[:3, 3], surface.normals
    if normals is not None:
        turn = to_world[:3, :3] / np.cbrt(np.linalg.det(to_world[:3, :3]))
        # As rows: NumPy multiplies a triangle at a time otherwise, which takes ten times longer.
        normals = (normals.reshape(-1, 3) @ turn.T.astype(np.float32)).reshape(normals.shape)
    return replace(surface, positions=positions, normals=normals)
