"""The nodes of a glTF file: which of them the default scene shows, where they stand, and the poses of skins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from synthetic.layouts.shapenet import BrokenModelError
from synthetic.staging.gltf.accessors import read_accessor
from synthetic.staging.gltf.document import Document
from synthetic.staging.gltf.fields import (
    Json,
    any_numbers,
    entry,
    extension,
    integer,
    integers,
    numbers,
    required_integer,
    text,
)
from synthetic.staging.surface import Floats

_UNIT = tuple(float(value) for value in np.eye(4).ravel())


@dataclass(frozen=True)
class Skin:
    """How joints move vertices: `matrices` [J,3,4] from the stored position to the scene.

    `step` is how far apart the float32 numbers of the inverse bind matrices lie, moved to the scene.
    """

    matrices: Floats
    step: float


@dataclass(frozen=True)
class Drawing:
    """A mesh that the scene shows `matrices` [N,4,4] times over, once where it isn't instanced.

    `weights` of its morph targets are None where the node says nothing of them.
    """

    mesh: int
    matrices: Floats
    skin: Skin | None
    weights: tuple[float, ...] | None
    name: str


class SceneGraph:
    """The nodes of a file and their matrices to the world, in the pose in which the file stores them."""

    def __init__(self, document: Document) -> None:
        """Raises BrokenModelError where the nodes are no trees."""
        self._document = document
        self._nodes = document.every("nodes")
        self._children = [integers(node, "children") for node in self._nodes]
        self._parents = self._find_parents()
        self._world = self._place()
        self._skins: dict[int, Skin] = {}

    def drawings(self) -> list[Drawing]:
        """What the default scene shows, in the order of the file; what it has besides is noted."""
        document = self._document
        shown = self._shown()
        drawings = []
        for number in shown:
            node = self._nodes[number]
            document.notes["cameras ignored"] += integer(node, "camera") is not None
            document.notes["lights ignored"] += extension(node, "KHR_lights_punctual") is not None
            mesh = integer(node, "mesh")
            if mesh is not None:
                drawings.append(self._drawing(number, mesh))
        outside = sum("mesh" in node for node in self._nodes) - len(drawings)
        document.notes["meshes outside the scene ignored"] += outside
        document.notes["animations ignored"] += len(document.every("animations"))
        return drawings

    def _find_parents(self) -> list[int | None]:
        parents: list[int | None] = [None] * len(self._nodes)
        for number, children in enumerate(self._children):
            for child in children:
                self._document.at("nodes", child)
                if parents[child] is not None:
                    raise BrokenModelError(f"its nodes are no tree: node {child} has two parents")
                parents[child] = number
        return parents

    def _place(self) -> list[Floats | None]:
        """The matrix to the world of each node, None of those on a cycle."""
        world: list[Floats | None] = [None] * len(self._nodes)
        waiting = [number for number, parent in enumerate(self._parents) if parent is None]
        local = _local_matrices(self._nodes)
        while waiting:
            number = waiting.pop()
            parent = self._parents[number]
            above = None if parent is None else world[parent]
            world[number] = local[number] if above is None else above @ local[number]
            waiting += self._children[number]
        return world

    def _matrix(self, number: int) -> Floats:
        self._document.at("nodes", number)
        matrix = self._world[number]
        if matrix is None:
            raise BrokenModelError(f"its nodes are no tree: node {number} is its own ancestor")
        return matrix

    def _shown(self) -> list[int]:
        """The nodes of the default scene, parents before children, each once; hidden ones are left out."""
        document = self._document
        scenes = document.every("scenes")
        if scenes:
            number = integer(document.json, "scene") or 0
            roots = integers(document.at("scenes", number), "nodes")
            document.notes["other scenes ignored"] += len(scenes) - 1
        else:
            roots = [number for number, parent in enumerate(self._parents) if parent is None]
            document.notes["no scene named, all nodes shown"] += 1
        shown: dict[int, None] = {}
        waiting = roots[::-1]
        while waiting:
            number = waiting.pop()
            self._matrix(number)
            visibility = extension(self._nodes[number], "KHR_node_visibility")
            if visibility is not None and visibility.get("visible") is False:
                document.notes["hidden nodes ignored"] += 1
            elif number not in shown:
                shown[number] = None
                waiting += self._children[number][::-1]
        return list(shown)

    def _drawing(self, number: int, mesh: int) -> Drawing:
        node = self._nodes[number]
        self._document.at("meshes", mesh)
        skin = integer(node, "skin")
        instancing = extension(node, "EXT_mesh_gpu_instancing")
        matrices = self._matrix(number)[None]
        if instancing is not None and skin is None:
            matrices = matrices @ self._instances(instancing)
        name = text(node, "name") or text(self._document.at("meshes", mesh), "name") or f"node {number}"
        posed = None if skin is None else self._skin(skin)
        return Drawing(mesh, matrices, posed, any_numbers(node, "weights"), name)

    def _skin(self, number: int) -> Skin:
        if number not in self._skins:
            skin = self._document.at("skins", number)
            joints = integers(skin, "joints")
            if not joints:
                raise BrokenModelError(f"skin {number} of its glTF has no joints")
            world = np.stack([self._matrix(joint) for joint in joints])
            accessor, step = integer(skin, "inverseBindMatrices"), 0.0
            if accessor is not None:
                bind = read_accessor(self._document, accessor, "inverse bind matrices", (16,))
                inverse = bind.rows(np.arange(len(joints))).reshape(-1, 4, 4).transpose(0, 2, 1)
                step = float((stretches(world) * spacing(inverse[:, :3, 3])).max())
                world = world @ inverse
            self._skins[number] = Skin(world[:, :3], step)
        return self._skins[number]

    def _instances(self, instancing: Json) -> Floats:
        """[N,4,4] of the extension that repeats a mesh."""
        attributes = entry(instancing, "attributes") or {}
        sizes = {"TRANSLATION": 3, "ROTATION": 4, "SCALE": 3}
        found = {
            name: read_accessor(self._document, required_integer(attributes, name), name, (size,))
            for name, size in sizes.items()
            if name in attributes
        }
        if not found:
            raise BrokenModelError("its glTF repeats a mesh but does not say where")
        count = max(accessor.count for accessor in found.values())
        most = self._document.files.limits.max_faces
        if count > most:
            raise BrokenModelError(
                f"its glTF repeats a mesh {count} times, more than the {most} faces allowed"
            )
        rows = np.arange(count)
        values = {name: each.rows(rows) for name, each in found.items()}
        shift = values.get("TRANSLATION", np.zeros((count, 3)))
        turn = values.get("ROTATION", np.tile([0.0, 0.0, 0.0, 1.0], (count, 1)))
        scale = values.get("SCALE", np.ones((count, 3)))
        return compose(shift, turn, scale)


def compose(shift: Floats, turn: Floats, scale: Floats) -> Floats:
    """[N,4,4] that scale, turn by quaternions [N,4] (x, y, z, w; made unit ones, none where all 0), then shift."""
    length = np.linalg.norm(turn, axis=1, keepdims=True)
    unit = np.divide(turn, length, out=np.tile([0.0, 0.0, 0.0, 1.0], (len(turn), 1)), where=length > 0)
    x, y, z, w = unit.T
    rotation = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    ).transpose(2, 0, 1)
    matrices = np.tile(np.eye(4), (len(turn), 1, 1))
    matrices[:, :3, :3] = rotation * scale[:, None, :]
    matrices[:, :3, 3] = shift
    return matrices


def stretches(matrices: Floats) -> Floats:
    """[N]: at most how many times longer matrices [N,3 or 4,4] make a distance, to within the root of 3."""
    return np.asarray(np.sqrt((matrices[:, :3, :3] ** 2).sum(axis=(1, 2)) / 3))


def spacing(values: Floats) -> float:
    """How far apart the float32 numbers lie beside the largest of these (0 for none, or where it isn't finite)."""
    most = float(np.abs(values).max(initial=0.0))
    return float(np.spacing(np.float32(most))) if most < np.finfo(np.float32).max else 0.0


def _local_matrices(nodes: Sequence[Json]) -> Floats:
    """[N,4,4]: how each node stands to its parent."""
    shift = [numbers(node, "translation", (0.0, 0.0, 0.0)) for node in nodes]
    turn = [numbers(node, "rotation", (0.0, 0.0, 0.0, 1.0)) for node in nodes]
    scale = [numbers(node, "scale", (1.0, 1.0, 1.0)) for node in nodes]
    sizes = ((shift, 3), (turn, 4), (scale, 3))
    local = compose(*(np.array(values, dtype=np.float64).reshape(-1, size) for values, size in sizes))
    for number, node in enumerate(nodes):
        if "matrix" in node:
            local[number] = np.array(numbers(node, "matrix", _UNIT)).reshape(4, 4).T
    return local
