"""Moving a surface from where its source has it to our world frame."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from synthetic.staging.surface import Floats, Surface


def placed(surface: Surface, matrix: Floats, shift: Floats | None = None) -> Surface:
    """The surface with its positions p at `matrix` [3,3] p + `shift` [3]; mirrored ones keep their outside.

    The matrix may scale unevenly. Raises ValueError where it flattens.
    """
    determinant = float(np.linalg.det(matrix))
    if not np.isfinite(determinant) or determinant == 0:
        raise ValueError(f"expected a matrix that can be inverted, found one of determinant {determinant:g}")
    positions = surface.positions @ matrix.T
    if shift is not None:
        positions = positions + shift
    triangles, uvs, colors, normals = surface.triangles, surface.uvs, surface.colors, surface.normals
    if normals is not None:
        moved = normals.astype(np.float64) @ np.linalg.inv(matrix) * np.sign(determinant)
        length = np.linalg.norm(moved, axis=-1, keepdims=True)
        normals = np.divide(moved, length, out=np.zeros_like(moved), where=length > 0).astype(np.float32)
    if determinant < 0:
        triangles = triangles[:, ::-1]
        uvs = tuple(layer[:, ::-1] for layer in uvs)
        colors = None if colors is None else colors[:, ::-1]
        normals = None if normals is None else normals[:, ::-1]
    return replace(surface, positions=positions, triangles=triangles, uvs=uvs, colors=colors, normals=normals)
