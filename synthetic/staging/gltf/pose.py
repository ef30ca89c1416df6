"""Vertices moved to the scene: by the matrix of their node, or by the joints of their skin."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from synthetic.layouts.shapenet import BrokenModelError
from synthetic.staging.gltf.accessors import Rows
from synthetic.staging.gltf.nodes import Skin
from synthetic.staging.surface import Floats

_CHUNK = 1 << 16  # vertices whose matrices are mixed at a time


@dataclass(frozen=True)
class Posed:
    """`positions` [N,V,3] of N placements, `normals` alike (not of unit length), and which are `mirrored` [N,V]."""

    positions: Floats
    normals: Floats | None
    mirrored: npt.NDArray[np.bool_]


def place(matrices: Floats, positions: Floats, normals: Floats | None) -> Posed:
    """Vertices [V,3] as matrices [N,4,4] place them."""
    linear = matrices[:, :3, :3]
    placed = positions @ linear.transpose(0, 2, 1) + matrices[:, None, :3, 3]
    turn, mirrored = _normal_matrices(linear)
    turned = None if normals is None else normals @ turn.transpose(0, 2, 1)
    return Posed(placed, turned, np.repeat(mirrored[:, None], len(positions), axis=1))


def bend(skin: Skin, joints: Rows, shares: Floats, positions: Floats, normals: Floats | None) -> Posed:
    """Vertices [V,3] as the joints [V,K] move them by their shares [V,K] (linear blend skinning, glTF §3.7.3)."""
    used = shares != 0
    if used.any() and int(joints[used].max()) >= len(skin.matrices):
        raise BrokenModelError(
            f"its glTF names joint {int(joints[used].max())} of a skin that has {len(skin.matrices)}"
        )
    joints = np.where(used, joints, 0)
    moved = np.empty_like(positions)
    turned = None if normals is None else np.empty_like(normals)
    mirrored = np.empty(len(positions), dtype=bool)
    for start in range(0, len(positions), _CHUNK):
        some = slice(start, start + _CHUNK)
        mixed = np.zeros((len(positions[some]), 3, 4))
        for slot in range(joints.shape[1]):
            mixed += shares[some, slot, None, None] * skin.matrices[joints[some, slot]]
        moved[some] = np.einsum("vij,vj->vi", mixed[:, :, :3], positions[some]) + mixed[:, :, 3]
        turn, mirrored[some] = _normal_matrices(mixed[:, :, :3])
        if normals is not None and turned is not None:
            turned[some] = np.einsum("vij,vj->vi", turn, normals[some])
    return Posed(moved[None], None if turned is None else turned[None], mirrored[None])


def _normal_matrices(linear: Floats) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """How normals turn under [N,3,3], to within their length, and which of these mirror.

    The cofactors are the transposed inverse times the determinant, and exist where there is no inverse, too.
    """
    size = np.abs(linear).max(axis=(1, 2), keepdims=True, initial=0.0)
    unit = np.divide(
        linear, size, out=np.zeros_like(linear), where=size > 0
    )  # else products of small scales are 0
    after, before = [1, 2, 0], [2, 0, 1]  # the rows and columns beside each
    upper, lower = unit[:, after], unit[:, before]
    cofactors = upper[..., after] * lower[..., before] - upper[..., before] * lower[..., after]
    mirrored = (unit[:, 0] * cofactors[:, 0]).sum(axis=1) < 0
    return np.where(mirrored[:, None, None], -cofactors, cofactors), mirrored
