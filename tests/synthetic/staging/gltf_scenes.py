"""Scenes for the tests of the glTF reader: skins, morph targets, and trees of nodes, mirrored and animated ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tests.synthetic.staging.glb_writer import Glb

RINGS, SIDES = 9, 8

Array = npt.NDArray[Any]


def tube() -> tuple[Array, Array, Array]:
    """Vertices [V,3] of a tube of height 2 with a fin, its triangles, and where along it the vertices lie (0 to 1)."""
    angles = np.arange(SIDES) * 2 * np.pi / SIDES
    heights = np.linspace(0, 2, RINGS)
    rings = [
        np.stack(
            [(0.4 - 0.1 * y) * np.cos(angles), np.full(SIDES, y), (0.3 - 0.08 * y) * np.sin(angles)], axis=1
        )
        for y in heights
    ]
    rings[RINGS // 2][0, 0] += 0.6
    vertices = np.concatenate([*rings, [[0, 0, 0], [0, 2, 0]]]).astype(np.float32)
    triangles = []
    for ring in range(RINGS - 1):
        for side in range(SIDES):
            a, b = ring * SIDES + side, ring * SIDES + (side + 1) % SIDES
            triangles += [(a, a + SIDES, b), (b, a + SIDES, b + SIDES)]
    last = (RINGS - 1) * SIDES
    for side in range(SIDES):
        triangles += [(len(vertices) - 2, side, (side + 1) % SIDES)]
        triangles += [(len(vertices) - 1, last + (side + 1) % SIDES, last + side)]
    return vertices, np.array(triangles, np.uint16), vertices[:, 1] / 2


def turn(rng: np.random.Generator, most: float) -> list[float]:
    axis = rng.normal(size=3)
    angle = rng.uniform(-most, most) / 2
    return [*(axis / np.linalg.norm(axis) * np.sin(angle)).tolist(), float(np.cos(angle))]


def influences(along: Array, joints: int, slots: int) -> tuple[Array, Array]:
    """The nearest joints of each vertex [V,slots] and smooth shares of them, which sum to 1."""
    distance = np.abs(along[:, None] * (joints - 1) - np.arange(joints))
    nearest = np.argsort(distance, axis=1, kind="stable")[:, :slots]
    shares = np.exp(-3 * np.take_along_axis(distance, nearest, axis=1))
    return nearest, shares / shares.sum(axis=1, keepdims=True)


def skinned(
    seed: int,
    joints: int = 4,
    *,
    sets: int = 1,
    weights: str = "f4",
    bind: bool = True,
    armature: dict[str, Any] | None = None,
    skins: int = 1,
    normals: bool = True,
) -> Glb:
    """A tube on a chain of joints, each turned at random; several skins pose the same mesh beside each other."""
    rng, glb = np.random.default_rng(seed), Glb()
    vertices, triangles, along = tube()
    attributes = {"POSITION": glb.accessor(vertices)}
    if normals:
        outward = vertices * [1, 0, 1] + [0, 1e-3, 0]
        outward /= np.linalg.norm(outward, axis=1, keepdims=True)
        attributes["NORMAL"] = glb.accessor(outward.astype(np.float32))
    names, shares = influences(along, joints, 4 * sets if joints >= 4 * sets else joints)
    names = np.pad(names, ((0, 0), (0, 4 * sets - names.shape[1])))
    shares = np.pad(shares, ((0, 0), (0, 4 * sets - shares.shape[1])))
    for number in range(sets):
        some = slice(4 * number, 4 * number + 4)
        attributes[f"JOINTS_{number}"] = glb.accessor(names[:, some].astype(np.uint8))
        scaled = shares[:, some] * (1 if weights == "f4" else np.iinfo(weights).max)
        attributes[f"WEIGHTS_{number}"] = glb.accessor(scaled.astype(weights), normalized=weights != "f4")
    mesh = glb.mesh([{"attributes": attributes, "indices": glb.accessor(triangles.reshape(-1))}])
    for copy in range(skins):
        chain = []
        for number in range(joints):
            offset = 2 / (joints - 1) if number else 0.0
            chain.append(
                glb.node(False, translation=[0, offset, 0], rotation=turn(rng, 0.8), name=f"joint{number}")
            )
            if number:
                glb.json["nodes"][chain[-2]]["children"] = [chain[-1]]
        skin: dict[str, Any] = {"joints": chain}
        if bind:
            rest = np.tile(np.eye(4, dtype=np.float32), (joints, 1, 1))
            rest[:, 1, 3] = -np.arange(joints) * 2 / (joints - 1)
            rest[:, 0, 3] = 0.05 * seed
            skin["inverseBindMatrices"] = glb.accessor(rest.transpose(0, 2, 1).reshape(joints, 16))
        number = glb.add("skins", **skin)
        glb.node(children=[chain[0]], translation=[2.5 * copy, 0, 0], **(armature or {}))
        glb.node(mesh=mesh, skin=number, translation=[7, 8, 9], scale=[3, 1, 2])  # of no account
    return glb


def morphed(on_node: bool) -> Glb:
    vertices, triangles, along = tube()
    rng, glb = np.random.default_rng(5), Glb()
    bulge = (vertices * [1, 0, 1] * np.sin(np.pi * along)[:, None]).astype(np.float32)
    targets = [
        {"POSITION": glb.accessor(bulge)},
        {"POSITION": glb.accessor(rng.normal(0, 0.05, vertices.shape).astype(np.float32))},
        {"POSITION": glb.accessor(np.full_like(vertices, 100))},
    ]
    primitive = {
        "attributes": {"POSITION": glb.accessor(vertices)},
        "indices": glb.accessor(triangles.reshape(-1)),
        "targets": targets,
    }
    mesh = glb.mesh([primitive], weights=[0.0, 0.0, 1.0] if on_node else [0.9, 0.5, 0.0])
    glb.node(mesh=mesh, rotation=[0, 0, 0.6, 0.8], **({"weights": [-0.4, 1.5, 0.0]} if on_node else {}))
    return glb


def tree(animated: bool) -> Glb:
    """Tubes all over a tree of nodes, one of them given by a matrix, mirrored ones among them."""
    glb, rng = Glb(), np.random.default_rng(11)
    vertices, triangles, _ = tube()
    primitive = {
        "attributes": {"POSITION": glb.accessor(vertices)},
        "indices": glb.accessor(triangles.reshape(-1)),
    }
    mesh = glb.mesh([primitive])
    leaf = glb.node(False, mesh=mesh, translation=[1, 2, 3], rotation=turn(rng, 2), scale=[1, -0.7, 1.2])
    matrix = np.eye(4)
    matrix[:3, :3] = rng.normal(size=(3, 3))
    matrix[:3, 3] = [3, 0, 1]
    sheared = glb.node(False, mesh=mesh, matrix=matrix.T.reshape(-1).tolist(), children=[leaf])
    glb.node(mesh=mesh, scale=[-1, 1, 1], rotation=turn(rng, 3), children=[sheared])
    glb.node(mesh=mesh, scale=[-1, -1, -1], translation=[-3, 0, 0])
    if animated:
        glb.json["animations"] = [
            {
                "samplers": [
                    {
                        "input": glb.accessor(np.array([0, 1], np.float32)),
                        "output": glb.accessor(np.array([[9, 9, 9], [5, 5, 5]], np.float32)),
                    }
                ],
                "channels": [{"sampler": 0, "target": {"node": leaf, "path": "translation"}}],
            }
        ] * 2
    return glb


SCENES = {
    "skin at two joints": lambda: skinned(0, 2),
    "skin at six joints": lambda: skinned(1, 6),
    "eight shares a vertex": lambda: skinned(2, 9, sets=2),
    "shares in bytes": lambda: skinned(3, 5, weights="u1"),
    "shares in 16 bits, no normals": lambda: skinned(4, 5, weights="u2", normals=False),
    "no inverse bind matrices": lambda: skinned(5, 3, bind=False),
    "centimetres": lambda: skinned(6, 5, armature={"scale": [0.01] * 3, "rotation": [-0.6, 0, 0, 0.8]}),
    "mirrored armature": lambda: skinned(7, 5, armature={"scale": [-1, 1.3, 1]}),
    "two skins share a mesh": lambda: skinned(8, 4, skins=2),
    "morphed by its mesh": lambda: morphed(False),
    "morphed by its node": lambda: morphed(True),
    "mirrored nodes": lambda: tree(False),
    "animated nodes": lambda: tree(True),
}
