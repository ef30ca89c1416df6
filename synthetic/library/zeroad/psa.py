"""Animations of the game, `.psa` of version 1 (its wiki, PSA File Format), and meshes posed by them.

    PSSA, version, bytes that follow; a name and a length of frames that the game itself ignores
    number of bones, of frames; of every frame where each bone stands, in the coordinates of the mesh

Bones have no names: an animation fits meshes with as many bones, in the same order.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from synthetic.layouts.shapenet import BrokenModelError
from synthetic.library.zeroad.binary import STATE, BinaryFile, matrices
from synthetic.library.zeroad.pmd import Mesh

Floats = npt.NDArray[np.float64]


def read_psa(content: bytes, name: str) -> Floats:
    """[T,B,4,4] from bones to mesh, frame by frame; BrokenModelError for all that is not as it should be."""
    file = BinaryFile(content, name, b"PSSA", 1)
    file.text("its name")
    file.records(np.dtype("<f4"), 1, "its length")
    bones, frames = file.count("its bones"), file.count("its frames")
    if not (bones and frames):
        raise BrokenModelError(f"{name}: expected bones and frames, found {bones} and {frames}")
    states = file.records(STATE, bones * frames, "its frames")
    file.end()
    return matrices(states.reshape(frames, bones), name)


def bend(mesh: Mesh, bones: Floats) -> Mesh:
    """The mesh with its bones [B,4,4] where an animation has them; linear blend skinning.

    A vertex moves as its bones do, by its weights; one without bones stays. Vertices that lie on one point at rest (the
    two sides of a seam) stay on one point even where the file gives them other weights. Raises BrokenModelError for
    the bones of another skeleton.
    """
    if len(bones) != len(mesh.rest):
        raise BrokenModelError(f"the animation has {len(bones)} bones, the mesh {len(mesh.rest)}")
    skin = np.concatenate([bones @ np.linalg.inv(mesh.rest), np.eye(4)[None]])  # the last: what has no bone
    weights = np.concatenate([mesh.weights, 1 - mesh.weights.sum(axis=1, keepdims=True)], axis=1)
    numbers = np.concatenate([mesh.bones, np.full((len(mesh.bones), 1), len(bones))], axis=1)
    blended = np.einsum("vk,vkij->vij", weights, skin[numbers])
    points = np.einsum("vij,vj->vi", blended[:, :3, :3], mesh.positions) + blended[:, :3, 3]
    normals = np.einsum("vij,vj->vi", blended[:, :3, :3], mesh.normals)
    return replace(mesh, positions=joined(mesh.positions, points), normals=normals, rest=bones)


def joined(rest: Floats, moved: Floats) -> Floats:
    """`moved` [V,3] with one place for all points that are one in `rest` [V,3]: the mean of theirs."""
    _, group = np.unique(rest, axis=0, return_inverse=True)
    group = group.reshape(-1)
    sums = np.stack([np.bincount(group, moved[:, axis]) for axis in range(3)], axis=1)
    return np.asarray((sums / np.bincount(group)[:, None])[group])
