"""A surface as the files of one model of a ShapeNetCore.v2 layout, such that GP3D reads back the same surface.

Triangles keep their order, parts become objects. Colours of corners are written behind the vertices, in sRGB as GP3D
and others read them; where all corners of a material have one colour it goes into the material instead.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from synthetic.layouts.shapenet_files import distinct_rows, statements
from synthetic.library.materials import MaterialWriter
from synthetic.staging.sampling import srgb_of_linear
from synthetic.staging.surface import Floats, Material, Surface

Indices = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_TURN = np.array([-1.0, 1.0, -1.0])  # from our world frame (front +z) to ShapeNet's (front -z)
_NORMAL_DECIMALS = 5


def write_surface(surface: Surface, models: Path, images: Path) -> Counter[str]:
    """Writes model_normalized.obj and .mtl into `models`, pictures into `images`; what they do not say, counted.

    The box around the surface is centred on the origin, with a diagonal of 1.
    """
    notes: Counter[str] = Counter()
    surface, colored = _with_plain_colors(surface)
    used = np.unique(surface.material)
    writer = MaterialWriter(surface, images, notes)
    names, texts = [""] * len(surface.materials), []
    layers = np.full(len(surface.materials), -1)
    for number in used.tolist():
        names[number], text, layer = writer.write(number)
        texts.append(text)
        layers[number] = -1 if layer is None else layer
    (models / "model_normalized.mtl").write_text("\n".join(texts), encoding="utf-8")
    text = _obj(surface, names, layers[surface.material], colored)
    (models / "model_normalized.obj").write_text(text, encoding="utf-8")
    return notes


def _with_plain_colors(surface: Surface) -> tuple[Surface, Mask]:
    """The surface with colours of corners only where a material needs them [F]: those hold the material's colour, too.

    A reader of OBJ takes a colour texture alone where there is one.
    """
    colored = np.zeros(len(surface), np.bool_)
    if surface.colors is None:
        return surface, colored
    materials, colors = list(surface.materials), surface.colors.copy()
    for number in np.unique(surface.material).tolist():
        given, those = materials[number], surface.material == number
        corners = colors[those].reshape(-1, 4)
        rgb, alpha = corners[:, :3], corners[:, 3]
        if given.alpha == "opaque":
            colors[those, :, 3] = 1
            alpha = np.ones_like(alpha)
        if np.ptp(rgb, axis=0).max() == 0 and np.ptp(alpha) == 0:
            materials[number] = _times(given, rgb[0], float(alpha[0]))
            continue
        if given.color_texture is not None:
            continue  # the writer of materials puts them into the texture
        colored |= those
        colors[those, :, :3] *= np.array(given.color, np.float32)
        materials[number] = replace(given, color=(1.0, 1.0, 1.0))
    return replace(surface, materials=tuple(materials), colors=colors), colored


def _times(material: Material, color: npt.NDArray[np.float32], alpha: float) -> Material:
    red, green, blue = (
        float(factor * value) for factor, value in zip(material.color, color.tolist(), strict=True)
    )
    return replace(material, color=(red, green, blue), opacity=material.opacity * alpha)


@dataclass(frozen=True)
class _Table:
    """Lines of one kind, and the number of the line [F,3] of every corner, from 1 on; 0 where it has none."""

    text: str
    numbers: Indices


def _obj(surface: Surface, names: Sequence[str], layers: Indices, colored: Mask) -> str:
    """The text of the geometry file; `layers` [F] are the uv layers of triangles, -1 for none."""
    vertices, places, normals = _vertices(surface, colored), _places(surface, layers), _normals(surface)
    text = ["mtllib model_normalized.mtl", vertices.text, places.text, normals.text]
    breaks = np.flatnonzero(np.diff(surface.material) | np.diff(surface.part)) + 1
    starts = np.concatenate([[0], breaks, [len(surface)]])
    part = -1
    for start, end in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        if surface.part[start] != part:
            part = int(surface.part[start])
            text.append(f"o part{part}")
        text.append(f"usemtl {names[surface.material[start]]}")
        columns = [table.numbers[start:end] for table in (vertices, places, normals)]
        kept = [column for column in columns if column[0, 0]]
        word = "%d" + ("/%d" if columns[1][0, 0] else "/" if columns[2][0, 0] else "")
        word += "/%d" if columns[2][0, 0] else ""
        text.append(statements(f"f {word} {word} {word}", np.stack(kept, axis=-1).reshape(end - start, -1)))
    return "\n".join(filter(None, text)) + "\n"


def _vertices(surface: Surface, colored: Mask) -> _Table:
    """The positions, in a box of diagonal 1; one with several colours is several vertices."""
    positions = surface.positions * _TURN
    used = np.zeros(len(positions), np.bool_)
    used[surface.triangles.ravel()] = True
    low, high = positions[used].min(axis=0), positions[used].max(axis=0)
    positions = (positions - (low + high) / 2) / np.linalg.norm(high - low)
    if not colored.any() or surface.colors is None:
        number = np.cumsum(used, dtype=np.int64)
        return _Table(statements("v %.8f %.8f %.8f", positions[used]), number[surface.triangles])
    colors = np.where(colored[:, None, None], surface.colors, -1).reshape(-1, 4)
    coded = np.round(colors * 1e6).astype(np.int64)
    rows = np.column_stack([surface.triangles.ravel(), coded])
    distinct, inverse = np.unique(rows, axis=0, return_inverse=True)
    lines = []
    alphas = bool((colors[colored.repeat(3), 3] < 1).any())
    for vertex, *color in distinct.tolist():
        line = "v {:.8f} {:.8f} {:.8f}".format(*positions[vertex])
        if color[0] >= 0:
            rgb = srgb_of_linear(np.array(color[:3]) / 1e6)
            line += " {:.6f} {:.6f} {:.6f}".format(*rgb) + (f" {color[3] / 1e6:.6f}" if alphas else "")
        lines.append(line)
    return _Table("\n".join(lines), inverse.reshape(-1, 3) + 1)


def _places(surface: Surface, layers: Indices) -> _Table:
    """The texture coordinates, exact in float32, of triangles that have a texture."""
    numbers = np.zeros((len(surface), 3), np.int64)
    textured = layers >= 0
    if not textured.any():
        return _Table("", numbers)
    chosen = np.empty((len(surface), 3, 2), np.float32)
    for layer in np.unique(layers[textured]).tolist():
        chosen[layers == layer] = surface.uvs[layer][layers == layer]
    rows = chosen[textured].reshape(-1, 2) + np.float32(0)  # -0 and 0 are one place
    code = np.ascontiguousarray(rows).view(np.uint64).ravel()
    _, first, inverse = np.unique(code, return_index=True, return_inverse=True)
    numbers[textured] = inverse.reshape(-1, 3) + 1
    return _Table(statements("vt %.9g %.9g", rows[first]), numbers)


def _normals(surface: Surface) -> _Table:
    if surface.normals is None:
        return _Table("", np.zeros((len(surface), 3), np.int64))
    rows: Floats = surface.normals.reshape(-1, 3).astype(np.float64) * _TURN
    distinct, inverse = distinct_rows(rows, _NORMAL_DECIMALS)
    return _Table(statements("vn %.5f %.5f %.5f", distinct), inverse.reshape(-1, 3) + 1)
