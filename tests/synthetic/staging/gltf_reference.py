"""A second reader of GLB files, for what a scene shows: one point at a time, by plain loops.

It shares nothing with the one it judges: no matrix is ever built or blended. A point is carried up the tree of nodes,
scaled, turned by the product of quaternions q p q*, and shifted at each; a skin carries it along each joint in turn and
takes the mean of where it arrives. Knows what the tests write: floats, whole numbers, no compression.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Point = tuple[float, float, float]
_FORMATS = {5120: "b", 5121: "B", 5122: "h", 5123: "H", 5125: "I", 5126: "f"}
_MOST = {5120: 127.0, 5121: 255.0, 5122: 32767.0, 5123: 65535.0}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}


@dataclass
class Reference:
    """Triangles of points of the scene that a GLB shows."""

    triangles: list[tuple[Point, Point, Point]]


def read_reference(content: bytes) -> Reference:
    """What the default scene shows, in the pose in which it is stored."""
    length = struct.unpack_from("<I", content, 12)[0]
    scene = json.loads(content[20 : 20 + length])
    reader = _Scene(scene, content[28 + length :])
    found: list[tuple[Point, Point, Point]] = []
    for root in scene["scenes"][scene.get("scene", 0)]["nodes"]:
        reader.walk(root, found)
    return Reference(found)


class _Scene:
    def __init__(self, scene: dict[str, Any], blob: bytes) -> None:
        self.scene, self.blob = scene, blob
        self.parent = {
            child: number for number, node in enumerate(scene["nodes"]) for child in node.get("children", [])
        }

    def walk(self, number: int, found: list[tuple[Point, Point, Point]]) -> None:
        node = self.scene["nodes"][number]
        if "mesh" in node:
            self.draw(number, node, found)
        for child in node.get("children", []):
            self.walk(child, found)

    def draw(self, number: int, node: dict[str, Any], found: list[tuple[Point, Point, Point]]) -> None:
        mesh = self.scene["meshes"][node["mesh"]]
        weights = node.get("weights", mesh.get("weights", []))
        for primitive in mesh["primitives"]:
            if primitive.get("mode", 4) < 4:
                continue
            attributes = primitive["attributes"]
            points = [tuple(row) for row in self.rows(attributes["POSITION"])]
            for weight, target in zip(weights, primitive.get("targets", []), strict=False):
                if "POSITION" in target:
                    moves = self.rows(target["POSITION"])
                    points = [
                        (p[0] + weight * m[0], p[1] + weight * m[1], p[2] + weight * m[2])
                        for p, m in zip(points, moves, strict=True)
                    ]
            if "skin" in node:
                carriers = self.carriers(node["skin"], attributes)
            else:
                carriers = [lambda point: self.up(number, point)] * len(points)
            moved = [carry(point) for carry, point in zip(carriers, points, strict=True)]
            mirrored = [_mirrors(carry) for carry in carriers]
            for corners in self.corners(primitive, len(points)):
                a, b, c = corners if sum(mirrored[k] for k in corners) < 2 else corners[::-1]
                found.append((moved[a], moved[b], moved[c]))

    def carriers(self, number: int, attributes: dict[str, int]) -> list[Callable[[Point], Point]]:
        skin = self.scene["skins"][number]
        binds = self.rows(skin["inverseBindMatrices"]) if "inverseBindMatrices" in skin else None
        pairs: list[list[tuple[int, float]]] = []
        for set_ in range(2):
            if f"JOINTS_{set_}" in attributes:
                joints = self.rows(attributes[f"JOINTS_{set_}"])
                shares = self.rows(attributes[f"WEIGHTS_{set_}"])
                pairs = pairs or [[] for _ in joints]
                for mine, names, values in zip(pairs, joints, shares, strict=True):
                    mine += [(skin["joints"][int(j)], w, int(j)) for j, w in zip(names, values, strict=True)]

        def carrier(mine: list[tuple[int, float, int]]) -> Callable[[Point], Point]:
            def carry(point: Point) -> Point:
                total = [0.0, 0.0, 0.0]
                for joint, share, place in mine:
                    start = point if binds is None else _by_columns(binds[place], point)
                    end = self.up(joint, start)
                    for axis in range(3):
                        total[axis] += share * end[axis]
                whole = sum(share for _, share, _ in mine)
                return (total[0] / whole, total[1] / whole, total[2] / whole)

            return carry

        return [carrier(mine) for mine in pairs]

    def up(self, number: int | None, point: Point) -> Point:
        while number is not None:
            node = self.scene["nodes"][number]
            if "matrix" in node:
                point = _by_columns(node["matrix"], point)
            else:
                sx, sy, sz = node.get("scale", (1, 1, 1))
                point = _turn(
                    node.get("rotation", (0, 0, 0, 1)), (point[0] * sx, point[1] * sy, point[2] * sz)
                )
                tx, ty, tz = node.get("translation", (0, 0, 0))
                point = (point[0] + tx, point[1] + ty, point[2] + tz)
            number = self.parent.get(number)
        return point

    def corners(self, primitive: dict[str, Any], count: int) -> list[tuple[int, int, int]]:
        order = list(range(count))
        if "indices" in primitive:
            order = [int(row[0]) for row in self.rows(primitive["indices"])]
        mode = primitive.get("mode", 4)
        found = []
        for k in range(0, len(order) - 2, 3 if mode == 4 else 1):
            if mode == 6:
                found.append((order[k + 1], order[k + 2], order[0]))
            elif mode == 5 and k % 2:
                found.append((order[k], order[k + 2], order[k + 1]))
            else:
                found.append((order[k], order[k + 1], order[k + 2]))
        return found

    def rows(self, number: int) -> list[list[float]]:
        accessor = self.scene["accessors"][number]
        view = self.scene["bufferViews"][accessor["bufferView"]]
        code, width = _FORMATS[accessor["componentType"]], _WIDTHS[accessor["type"]]
        most = _MOST[accessor["componentType"]] if accessor.get("normalized") else 1.0
        start = view.get("byteOffset", 0) + accessor.get("byteOffset", 0)
        stride = view.get("byteStride") or struct.calcsize(code) * width
        found = []
        for row in range(accessor["count"]):
            values = struct.unpack_from(f"<{width}{code}", self.blob, start + row * stride)
            found.append([max(value / most, -1.0) if most > 1 else float(value) for value in values])
        return found


def _by_columns(matrix: Any, point: Point) -> Point:
    """A point times a matrix of 16 numbers, column by column, as glTF writes it."""
    place = [matrix[12 + axis] for axis in range(3)]
    for column in range(3):
        for axis in range(3):
            place[axis] += matrix[4 * column + axis] * point[column]
    return (place[0], place[1], place[2])


def _product(a: Any, b: Any) -> tuple[float, float, float, float]:
    ax, ay, az, aw = a
    bx, by, bz, bw = b
    return (
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
        aw * bw - ax * bx - ay * by - az * bz,
    )


def _turn(q: Any, point: Point) -> Point:
    x, y, z, _ = _product(_product(q, (*point, 0.0)), (-q[0], -q[1], -q[2], q[3]))
    return (x, y, z)


def _mirrors(carry: Callable[[Point], Point]) -> bool:
    """Whether right-handed axes arrive left-handed."""
    o, x, y, z = (carry(p) for p in ((0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)))
    u, v, w = ([p[axis] - o[axis] for axis in range(3)] for p in (x, y, z))
    cross = (u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0])
    return sum(c * value for c, value in zip(cross, w, strict=True)) < 0
