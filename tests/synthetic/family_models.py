"""Models of the procedural families, built once, and what tests look at in them."""

from functools import cache

import numpy as np
import trimesh

from synthetic.shapes.family import Model, build_model
from synthetic.shapes.library import FAMILIES
from synthetic.shapes.parts import Part

BY_NAME = {family.name: family for family in FAMILIES}
SEEDS = 4


@cache
def models(name: str) -> list[Model]:
    return [build_model(BY_NAME[name], 5, index) for index in range(SEEDS)]


def all_vertices(model: Model) -> np.ndarray:
    return np.concatenate([part.vertices for part in model.parts])


def as_trimesh(part: Part) -> trimesh.Trimesh:
    return trimesh.Trimesh(part.vertices, part.faces, process=False)


def made_of(model: Model, material: str) -> np.ndarray:
    """All vertices of the parts of one material."""
    return np.concatenate([part.vertices for part in model.parts if part.material.name.startswith(material)])


def first_hits(model: Model, origins: np.ndarray, directions: np.ndarray) -> tuple[np.ndarray, ...]:
    """Which rays hit, the part they hit first, and the cosine between ray and face normal there."""
    import open3d as o3d

    scene = o3d.t.geometry.RaycastingScene()
    for part in model.parts:
        scene.add_triangles(
            o3d.core.Tensor(part.vertices.astype(np.float32)), o3d.core.Tensor(part.faces.astype(np.uint32))
        )
    rays = np.concatenate([origins, directions], axis=1).astype(np.float32)
    answer = scene.cast_rays(o3d.core.Tensor(rays))
    cosine = np.einsum("ij,ij->i", answer["primitive_normals"].numpy(), directions)
    return np.isfinite(answer["t_hit"].numpy()), answer["geometry_ids"].numpy(), cosine
