"""Colours of a picture compared with those of the places that its rays hit, whatever light falls on them.

What a matte surface shows is its base colour times the light there, and all light is white here. So the angle between
the two colours says whether the colour is right, and the light that they stand for has to lie between what comes
straight from sky and sun and what surfaces around could add. What shines (specular, emission) is allowed for, or left
unchecked and counted.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from synthetic.checks.light import SUN_FROM, SUN_RADIUS, Light, Sky, light_at
from synthetic.checks.models import Truth
from synthetic.checks.pixels import depth_edges, inside_triangles, pixel_centres, pixel_rays
from synthetic.checks.rays import Array, Hits, Indices
from synthetic.dataset import ViewRecord
from synthetic.staging.sampling import linear_of_srgb, srgb_bytes, srgb_of_linear

MOST_PIXELS = 1500  # of a view, drawn at random
FEWEST_PIXELS = 50  # of which a share says anything
_LUMINANCE = np.array([0.2126, 0.7152, 0.0722])
_CODE = 1 / 255
_ANGLE = 0.1  # between colours, radians: a wrong one
_BOUNCED = 0.4  # angle that light from coloured surfaces around may add, where there is no other
_DARKER, _BRIGHTER = 0.5, 1.3  # times the least and the most light that can be
_BLACK, _NOT_BLACK = 2 * _CODE, 16 * _CODE  # sRGB values
_SUBPIXELS = 4  # a side, over the filter of a pixel
_METAL = 0.05
_DEVIATIONS = 2  # standard ones, of what chance may do to a pixel
_ROUNDED = 1  # bytes, of colours that lie just between two


@dataclass(frozen=True)
class ColorScore:
    """How far the colours of a view are from the truth, as shares of the pixels checked.

    `chroma`: of another colour, whatever the light; `darker` and `brighter` than any light explains; `black` where
    they must not be; `light` the median of light to what it should be (1). All are None where too few could be
    checked. `pixels` were drawn, of which `unchecked` says by reason how many could not be checked. `albedo_equal` is
    the share of pixels off edges whose albedo is the truth to the last byte, `albedo_off` of those that are more than
    1 away, `albedo_worst` the largest difference; None where the view has no albedo.
    """

    pixels: int
    checked: int
    unchecked: dict[str, int] = field(default_factory=dict)
    chroma: float | None = None
    darker: float | None = None
    black: float | None = None
    brighter: float | None = None
    light: float | None = None
    albedo_equal: float | None = None
    albedo_off: float | None = None
    albedo_worst: int | None = None


@dataclass(frozen=True)
class _Places:
    """Drawn pixels [N]: row and column, base colour (mean and standard deviation over the pixel), and what is there."""

    at: npt.NDArray[np.int64]
    base: Array
    spread: Array
    hits: Hits
    directions: Array


def score_colors(
    picture: npt.NDArray[np.uint8],
    albedo: npt.NDArray[np.uint8] | None,
    record: ViewRecord,
    truth: Truth,
    hits: Hits,
    samples: int,
    sky: Sky | None,
) -> ColorScore:
    """The score of a view: its `picture` [R,R,3], perhaps its `albedo` [R,R,3], and the `hits` of its pixels' rays.

    `samples` are those of a pixel of the picture. Without a `sky` its light is not known, and only albedo is scored.
    """
    random = np.random.default_rng(0)
    sure = np.isfinite(hits.distance) & ~depth_edges(hits.distance, truth.is_ground(hits))
    if sky is None:
        count = min(MOST_PIXELS, int(sure.sum()))
        unknown = {"light of an environment map": count} if count else {}
        return ColorScore(count, 0, unknown, **_albedo(albedo, truth, hits, sure))
    unchecked: Counter[str] = Counter()
    places = _places(record, truth, hits, sure, random, unchecked)
    drawn = len(places.at) + unchecked["edge"]
    glowing, metal = _kinds(truth, places.hits.triangle)
    unchecked["emissive"] += int(glowing.sum())
    unchecked["metal, light"] += int((metal & ~glowing).sum())
    shown = linear_of_srgb(picture[tuple(places.at.T)] / 255)
    light, shine = _light(truth, record, places, random, sky)
    measures = _measures(shown, places, light, shine, ~metal, samples)
    kept = {name: values[~glowing] for name, values in measures.items()}
    unchecked["highlight, colour"] += int(kept["highlight"].sum())
    unchecked["too dark for a colour"] += int((~kept["coloured"] & ~kept["highlight"]).sum())
    score = ColorScore(
        drawn,
        len(kept["chroma"]),
        {reason: count for reason, count in unchecked.items() if count},
        **_albedo(albedo, truth, hits, sure),
    )
    if score.checked < FEWEST_PIXELS:
        return score
    lit = kept["light"][kept["lit"]]
    shares: dict[str, Any] = {
        name: float(kept[name].mean()) for name in ("chroma", "darker", "black", "brighter")
    }
    return replace(score, **shares, light=float(np.median(lit)) if len(lit) >= FEWEST_PIXELS else None)


def _albedo(
    albedo: npt.NDArray[np.uint8] | None, truth: Truth, hits: Hits, sure: npt.NDArray[np.bool_]
) -> dict[str, Any]:
    """What ColorScore says of albedo."""
    sure = sure & inside_triangles(hits)
    if albedo is None or sure.sum() < FEWEST_PIXELS:
        return {}
    expected = srgb_bytes(truth.colors.at(hits.triangle[sure], hits.barycentric[sure])[:, :3])
    off = np.abs(albedo[sure].astype(int) - expected).max(axis=1)
    return {
        "albedo_equal": float((off == 0).mean()),
        "albedo_off": float((off > _ROUNDED).mean()),
        "albedo_worst": int(off.max()),
    }


def shown_base(truth: Truth, hits: Hits) -> npt.NDArray[np.uint8]:
    """[R,R,3] sRGB base colour of what rays [R,R] hit, white elsewhere."""
    picture = np.full((*hits.triangle.shape, 3), 255, np.uint8)
    there = hits.triangle >= 0
    picture[there] = srgb_bytes(truth.colors.at(hits.triangle[there], hits.barycentric[there])[:, :3])
    return picture


def _places(
    record: ViewRecord,
    truth: Truth,
    hits: Hits,
    sure: npt.NDArray[np.bool_],
    random: np.random.Generator,
    unchecked: Counter[str],
) -> _Places:
    """At most `MOST_PIXELS` of the pixels of a view that show nothing but a single piece of surface."""
    at = pixel_centres(len(sure))[sure]
    if len(at) > MOST_PIXELS:
        at = at[np.sort(random.choice(len(at), MOST_PIXELS, replace=False))]
    origin, directions = pixel_rays(record, at[:, None] + _filter(_SUBPIXELS))
    around = truth.rays.cast(origin, directions)
    inside = np.isfinite(around.distance).all(axis=1)
    unchecked["edge"] += int((~inside).sum())
    at, triangle, barycentric = at[inside], around.triangle[inside], around.barycentric[inside]
    base = truth.colors.at(triangle.reshape(-1), barycentric.reshape(-1, 2))[:, :3].reshape(
        *triangle.shape, 3
    )
    here = tuple(at.T)
    centre = Hits(hits.distance[here], hits.triangle[here], hits.barycentric[here], hits.normals[here])
    return _Places(at, base.mean(axis=1), base.std(axis=1), centre, pixel_rays(record, at)[1])


def _filter(count: int) -> Array:
    """[count²,2] places in a pixel of equal weight to its filter (Blackman-Harris, 3 pixels wide), in pixels."""
    x = np.linspace(-1.5, 1.5, 2001)
    turns = 2 * np.pi * np.outer(np.arange(4), x / 3 + 0.5)
    window = np.array([0.35875, -0.48829, 0.14128, -0.01168]) @ np.cos(turns)
    share = np.cumsum(window) / window.sum()
    places = np.interp((np.arange(count) + 0.5) / count, share, x)
    return np.stack(np.meshgrid(places, places), axis=-1).reshape(-1, 2)


def _kinds(truth: Truth, triangle: Indices) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Which triangles [N] give light themselves, and which are metal or may be by a texture."""
    materials = truth.surface.materials
    glowing = np.array([any(material.emission) for material in materials])
    metal = np.array([material.metallic > _METAL for material in materials])
    used = truth.surface.material[triangle]
    return glowing[used], metal[used]


def _light(
    truth: Truth, record: ViewRecord, places: _Places, random: np.random.Generator, sky: Sky
) -> tuple[Light, Array]:
    """The light at the places, and the most [N] that a surface may shine besides."""
    surface, hits, directions = truth.surface, places.hits, places.directions
    towards = -directions / np.linalg.norm(directions, axis=1, keepdims=True)
    flat = hits.normals * np.where((hits.normals * towards).sum(axis=1, keepdims=True) < 0, -1, 1)
    normals = flat
    if surface.normals is not None:
        weights = np.column_stack([1 - hits.barycentric.sum(axis=1), hits.barycentric])
        smooth = np.einsum("nk,nkd->nd", weights, surface.normals[hits.triangle])
        smooth /= np.linalg.norm(smooth, axis=1, keepdims=True).clip(1e-12)
        normals = smooth * np.where((smooth * flat).sum(axis=1, keepdims=True) < 0, -1, 1)
    points = np.array(record["cam2world"])[:3, 3] + directions * hits.distance[:, None]
    light = light_at(truth.rays, points, normals, flat, random, sky)
    used = surface.material[hits.triangle]
    level = np.array(
        [max(material.specular, float(material.metallic > _METAL)) for material in surface.materials]
    )
    rough = np.array([max(material.roughness, 0.05) for material in surface.materials])
    textured = np.array([material.metallic_roughness_texture is not None for material in surface.materials])
    rough = np.where(textured, 0.05, rough)
    return light, _shine(normals, towards, level[used], rough[used], sky)


def _shine(normals: Array, towards: Array, level: Array, roughness: Array, sky: Sky) -> Array:
    """[N] the most that a glossy surface returns of sky and sun in white: Schlick's Fresnel, the sun's peak by GGX."""
    facing = (normals * towards).sum(axis=1).clip(0, 1)
    straight = 0.08 * level
    fresnel = np.where(level > 0, straight + (1 - straight) * (1 - facing) ** 5, 0)
    half = towards + SUN_FROM
    half /= np.linalg.norm(half, axis=1, keepdims=True)
    # the sun is a disc: the part of it that shines the most counts
    off = np.arccos((normals * half).sum(axis=1).clip(-1, 1)) - SUN_RADIUS / 2
    squared = roughness**4
    lobe = squared / (np.pi * (np.cos(off.clip(0)) ** 2 * (squared - 1) + 1) ** 2)
    disc = sky.sun / (np.pi * np.sin(SUN_RADIUS) ** 2)
    return np.asarray(fresnel * (2 * sky.sky + np.minimum(sky.sun * lobe / (4 * facing.clip(0.1)), disc)))


def _measures(
    shown: Array, places: _Places, light: Light, shine: Array, matte: npt.NDArray[np.bool_], samples: int
) -> dict[str, npt.NDArray[Any]]:
    """Of pixels [N] what ColorScore tells of, with "light" as a ratio, which have a colour, shine or are lit."""
    base, grey, bright = places.base, places.base @ _LUMINANCE, shown @ _LUMINANCE
    noise = _DEVIATIONS * places.spread / np.sqrt(min(samples, _SUBPIXELS**2))
    step = linear_of_srgb(srgb_of_linear(shown) + _CODE) - shown
    lengths = np.linalg.norm(base, axis=1), np.linalg.norm(shown, axis=1)
    angle = _least_angle(shown, base, shine)
    doubt = np.linalg.norm(step, axis=1) / lengths[1].clip(1e-6)
    doubt += np.linalg.norm(noise, axis=1) / lengths[0].clip(1e-6)
    doubt += _BOUNCED * (light.most - light.direct) / light.most.clip(1e-6)
    surely = (light.direct - _DEVIATIONS * np.sqrt(light.variance / samples)).clip(0)
    least, limit = grey * light.direct, grey * light.most + shine
    slack = step @ _LUMINANCE + noise @ _LUMINANCE + 0.002
    highlight = (shine > 0) & (bright - slack > _BRIGHTER * grey * light.most)
    coloured = (lengths[0] > 0.01) & (lengths[1] > 0.003) & ~highlight
    seen, expected = srgb_of_linear(shown).max(axis=1), srgb_of_linear(base * surely[:, None]).max(axis=1)
    return {
        "chroma": coloured & (angle - doubt > _ANGLE),
        "coloured": coloured,
        "highlight": highlight,
        "darker": matte & (bright + slack < _DARKER * grey * surely),
        "black": matte & (seen <= _BLACK) & (expected >= _NOT_BLACK),
        "brighter": matte & (bright - slack > _BRIGHTER * limit),
        "light": bright / bright.clip(least, limit).clip(1e-6),
        "lit": matte & (least > 0.02),
    }


def _least_angle(shown: Array, base: Array, shine: Array) -> Array:
    """[N] angles between colours, the least there is when up to `shine` of white is taken away from what is shown."""
    angles, most = [], np.minimum(shine, shown.min(axis=1))
    for share in np.linspace(0, 1, 17 if (shine > 0).any() else 1):
        left = shown - share * most[:, None]
        product = np.linalg.norm(left, axis=1) * np.linalg.norm(base, axis=1)
        cosine = np.divide((left * base).sum(axis=1), product, out=np.zeros(len(base)), where=product > 1e-9)
        angles.append(np.arccos(cosine.clip(-1, 1)))
    return np.asarray(np.min(angles, axis=0))
