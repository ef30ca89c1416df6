"""Whether two surfaces look the same, found without the code that writes libraries."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from synthetic.staging.sampling import SurfaceColors
from synthetic.staging.surface import Surface, Texture


def corners(surface: Surface) -> npt.NDArray[np.float64]:
    """[F,3,3] the corners of all triangles, in a box of diagonal 1 about the origin."""
    found = surface.positions[surface.triangles]
    low, high = found.min(axis=(0, 1)), found.max(axis=(0, 1))
    return (found - (low + high) / 2) / np.linalg.norm(high - low)


def differences(first: Surface, second: Surface, color: float = 1e-5) -> list[str]:
    """What differs, in words; `color` is how far linear base colours may be apart, as by rounding to bytes."""
    if len(first) != len(second):
        return [f"{len(first)} triangles became {len(second)}"]
    found = []
    apart = float(np.abs(corners(first) - corners(second)).max())
    if apart > 2e-8:
        found.append(f"corners are up to {apart:.2g} apart")
    for name in ("metallic", "roughness", "specular", "emission", "alpha", "opacity", "transmission"):
        one, other = _of_triangles(first, name), _of_triangles(second, name)
        same = one == other if name == "alpha" else np.isclose(one, other, atol=1e-6)
        if not same.all():
            found.append(f"{name} differs: {one[~same][0]} became {other[~same][0]}")
    generator = np.random.default_rng(0)
    triangle = generator.integers(len(first), size=4000)
    weights = generator.dirichlet((1, 1, 1), 4000)[:, 1:]
    one, other = (SurfaceColors(surface).at(triangle, weights) for surface in (first, second))
    if np.abs(one - other).max() > color:
        worst = np.abs(one - other).max(axis=1).argmax()
        found.append(f"base colour {one[worst]} became {other[worst]}")
    for name in ("emission_texture", "metallic_roughness_texture"):
        one, other = (_seen(surface, name, triangle, weights) for surface in (first, second))
        if np.abs(one - other).max() > 1.01:
            found.append(f"{name} differs by {np.abs(one - other).max():.3g} bytes")
    if (first.normals is None) != (second.normals is None):
        found.append("one is shaded smoothly, the other not")
    elif first.normals is not None and second.normals is not None:
        cosine = (first.normals * second.normals).sum(axis=-1)
        if cosine.min() < 1 - 1e-4:
            found.append(f"normals turn by up to {np.degrees(np.arccos(cosine.min())):.2g} degrees")
    return found


def _of_triangles(surface: Surface, name: str) -> npt.NDArray[np.generic]:
    return np.array([getattr(material, name) for material in surface.materials])[surface.material]


def _seen(
    surface: Surface, name: str, triangle: npt.NDArray[np.int64], weights: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """[N,3] bytes of a texture at points, without interpolation; 0 where a material has none."""
    seen = np.zeros((len(triangle), 3))
    all_weights = np.column_stack([1 - weights.sum(axis=1), weights])
    for number, material in enumerate(surface.materials):
        texture: Texture | None = getattr(material, name)
        here = np.flatnonzero(surface.material[triangle] == number)
        if texture is None or not len(here):
            continue
        with Image.open(texture.path) as picture:
            pixels = np.asarray(picture.convert("RGB"))[::-1]
        places = np.einsum("nk,nkc->nc", all_weights[here], surface.uvs[texture.uv_layer][triangle[here]])
        size = np.array(pixels.shape[1::-1])
        index = np.floor(places * size).astype(np.int64)
        for axis, wrap in enumerate(texture.wrap):
            if wrap == "clamp":
                index[:, axis] = index[:, axis].clip(0, size[axis] - 1)
            elif wrap == "repeat":
                index[:, axis] %= size[axis]
            else:
                index[:, axis] %= 2 * size[axis]
                index[:, axis] = np.minimum(index[:, axis], 2 * size[axis] - 1 - index[:, axis])
        seen[here] = pixels[index[:, 1], index[:, 0]]
    return seen
