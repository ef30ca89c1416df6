"""Meshes of the game, `.pmd` of version 4, by the game's own description of the format (its wiki, PMD File Format).

    PSMD, version, bytes that follow
    number of vertices, of UV layers; a vertex: position 3, normal 3, UV 2 a layer, bones 4 (255: none), weights 4
    number of triangles; 3 vertices each
    number of bones; where each stands at rest, in the coordinates of the mesh: translation 3, quaternion 4
    number of prop points; name, translation 3, quaternion 4, the bone that it hangs on (255: none)

Coordinates are left-handed: x to the right, y up, z away. Seen from outside, triangles turn counter-clockwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from synthetic.layouts.shapenet import BrokenModelError
from synthetic.library.zeroad.binary import FARTHEST, STATE, BinaryFile, matrices

Floats = npt.NDArray[np.float64]
_NO_BONE = 255

_MOST_LAYERS = 8


@dataclass(frozen=True)
class PropPoint:
    """Where another model may hang: `local` [4,4] in the coordinates of its bone, or of the mesh where that is None."""

    local: Floats
    bone: int | None


@dataclass(frozen=True)
class Mesh:
    """A mesh as stored, in the game's coordinates.

    `positions`, `normals` [V,3]; `uvs` [L,V,2], v upwards; `bones` [V,4] (B where it is none of them), `weights` [V,4]
    that add up to 1, or to 0 where a vertex has no bone; `triangles` [F,3]; `rest` [B,4,4] from bones to the mesh.
    """

    positions: Floats
    normals: Floats
    uvs: npt.NDArray[np.float32]
    bones: npt.NDArray[np.int64]
    weights: Floats
    triangles: npt.NDArray[np.int64]
    rest: Floats
    points: Mapping[str, PropPoint]


def read_pmd(content: bytes, name: str) -> Mesh:
    """The mesh of a file; BrokenModelError, with the file's name, for all that is not as it should be."""
    file = BinaryFile(content, name, b"PSMD", 4)
    number, layers = file.count("its vertices"), file.count("its UV layers")
    if not 1 <= layers <= _MOST_LAYERS:
        raise BrokenModelError(
            f"{name}: expected 1 to {_MOST_LAYERS} layers of UV coordinates, found {layers}"
        )
    vertex = np.dtype(
        [
            ("position", "<f4", 3),
            ("normal", "<f4", 3),
            ("uv", "<f4", (layers, 2)),
            ("bones", "u1", 4),
            ("weights", "<f4", 4),
        ]
    )
    vertices = file.records(vertex, number, "its vertices")
    corners = file.records(np.dtype(("<u2", 3)), file.count("its triangles"), "its triangles")
    rest = matrices(file.records(STATE, file.count("its bones"), "its bones"), name)
    points = _points(file, name, len(rest))
    file.end()
    _check(vertices, corners, name)
    bones, weights = _blend(vertices, len(rest), name)
    return Mesh(
        vertices["position"].astype(np.float64),
        vertices["normal"].astype(np.float64),
        np.moveaxis(vertices["uv"], 1, 0).copy(),
        bones,
        weights,
        corners.astype(np.int64),
        rest,
        points,
    )


def _points(file: BinaryFile, name: str, bones: int) -> dict[str, PropPoint]:
    points: dict[str, PropPoint] = {}
    for _ in range(file.count("its prop points")):
        called = file.text("the name of a prop point")
        local = matrices(file.records(STATE, 1, "a prop point"), name)[0]
        bone = int(file.records(np.dtype("u1"), 1, "a prop point")[0])
        if bone != _NO_BONE and bone >= max(bones, 1):
            raise BrokenModelError(f"{name}: prop point {called!r} hangs on bone {bone} of {bones}")
        points.setdefault(called, PropPoint(local, bone if bone < bones else None))
    return points


def _check(vertices: npt.NDArray[Any], corners: npt.NDArray[Any], name: str) -> None:
    """Raises BrokenModelError where there is nothing to see, or numbers and indices are none."""
    if not len(corners):
        raise BrokenModelError(f"{name}: has no triangles")
    if corners.max() >= len(vertices):
        raise BrokenModelError(f"{name}: a triangle has vertex {corners.max()} of {len(vertices)}")
    if not all(np.isfinite(vertices[field]).all() for field in ("position", "normal", "uv", "weights")):
        raise BrokenModelError(f"{name}: holds numbers that are none (NaN or infinite)")
    if np.abs(vertices["position"]).max() > FARTHEST:
        raise BrokenModelError(f"{name}: reaches farther than {FARTHEST:g} units; it is damaged")


def _blend(vertices: npt.NDArray[Any], bones: int, name: str) -> tuple[npt.NDArray[np.int64], Floats]:
    """The bones of every vertex and their weights, which are made to add up to 1.

    The game's exporter gives what follows no bone of the skeleton the number of bones for a bone: it stays at rest.
    """
    numbers = vertices["bones"].astype(np.int64)
    if ((numbers != _NO_BONE) & (numbers > bones)).any():
        raise BrokenModelError(
            f"{name}: a vertex follows bone {numbers[numbers != _NO_BONE].max()} of {bones}"
        )
    weights = np.where(numbers == _NO_BONE, 0.0, vertices["weights"].astype(np.float64))
    if (weights < 0).any():
        raise BrokenModelError(f"{name}: a bone has a weight below 0")
    total = weights.sum(axis=1, keepdims=True)
    return np.where(numbers == _NO_BONE, bones, numbers), np.divide(
        weights, total, out=np.zeros_like(weights), where=total > 1e-6
    )
