"""How much light falls on places of a surface, by casting rays at the sky and the sun of docs/dataset.md.

The numbers of the light are said here again, so that a renderer that lights otherwise is found out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from synthetic.checks.rays import Array, RaySurface

SUN_FROM = np.array([-0.55, 0.75, 0.6]) / np.linalg.norm([-0.55, 0.75, 0.6])
SUN_RADIUS = np.radians(6.0)  # half of the sun's angle
_SKY_RAYS, _SUN_RAYS = 24, 6  # a place
_OFF = 1e-4  # from the surface, where rays begin


@dataclass(frozen=True)
class Sky:
    """Light from everywhere and from the sun: the radiance of the uniform sky, the irradiance of the sun."""

    sky: float
    sun: float


SKIES = {"paper": Sky(0.5, 1.6), "flat": Sky(0.5 + 1.6 / (4 * np.pi), 0.0)}


@dataclass(frozen=True)
class Light:
    """What a white matte surface returns at points [N], as a radiance: 1 is white in the picture.

    `direct` is of what comes straight from sky and sun, `variance` that of one sample of it, by what is in the way.
    `most` adds all that may come from other surfaces, which return at most about 1 where no sky is seen.
    """

    direct: Array
    variance: Array
    most: Array


def light_at(
    surface: RaySurface, points: Array, normals: Array, flat: Array, random: np.random.Generator, sky: Sky
) -> Light:
    """The light of a sky at points [N,3]; `normals` [N,3] are those of shading, `flat` [N,3] those of the triangles.

    Both have to be on the camera's side.
    """
    start = points + _OFF * flat
    open_sky = _free(surface, start, _around(normals, random)).mean(axis=1)
    suns = _disc(len(points), random)
    cosine = np.einsum("nkd,nd->nk", suns, normals).clip(0)
    sun = sky.sun / np.pi * cosine * _free(surface, start, suns)
    direct = sky.sky * open_sky + sun.mean(axis=1)
    variance = sky.sky**2 * open_sky * (1 - open_sky) + sun.var(axis=1)
    return Light(direct, variance, direct + 1 - open_sky)


def _free(surface: RaySurface, start: Array, directions: Array) -> Array:
    """[N,K] 1 where a ray from [N,3] in directions [N,K,3] meets nothing, else 0."""
    count = directions.shape[1]
    rays = np.concatenate([np.repeat(start, count, axis=0), directions.reshape(-1, 3)], axis=1)
    return np.asarray(~surface.blocked(rays).reshape(-1, count), dtype=np.float64)


def _around(normals: Array, random: np.random.Generator) -> Array:
    """[N,K,3] directions about normals [N,3], as many as there are of the cosine (Lambert)."""
    z = random.uniform(-1, 1, (len(normals), _SKY_RAYS))
    turn = random.uniform(0, 2 * np.pi, z.shape)
    flat = np.sqrt(1 - z**2)
    ball = np.stack([flat * np.cos(turn), flat * np.sin(turn), z], axis=-1)
    summed = normals[:, None] + ball * (1 - 1e-6)
    return np.asarray(summed / np.linalg.norm(summed, axis=-1, keepdims=True))


def _disc(count: int, random: np.random.Generator) -> Array:
    """[N,K,3] directions to places of the sun, uniform on its disc."""
    side = np.cross(SUN_FROM, [0.0, 1.0, 0.0])
    side /= np.linalg.norm(side)
    across = np.stack([side, np.cross(SUN_FROM, side)])
    turn = random.uniform(0, 2 * np.pi, (count, _SUN_RAYS))
    radius = np.tan(SUN_RADIUS) * np.sqrt(random.uniform(0, 1, turn.shape))
    at = np.stack([radius * np.cos(turn), radius * np.sin(turn)], axis=-1) @ across + SUN_FROM
    return np.asarray(at / np.linalg.norm(at, axis=-1, keepdims=True))
