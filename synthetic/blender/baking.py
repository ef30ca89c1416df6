"""What a Blender scene shows, as one surface with one texture: modifiers applied, instances made real, materials baked.

Materials are evaluated at the points of the surface that is returned, each part in its own coordinates, so that
whatever a node material depends on (object coordinates, attributes, noise) comes out as Cycles draws it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import bpy
import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.ndimage import distance_transform_edt

from synthetic.blender.channels import Channel, ShiningMaterials
from synthetic.layouts.shapenet import BrokenModelError
from synthetic.staging.sampling import srgb_bytes
from synthetic.staging.surface import Floats, Material, Part, Surface, Texture, area_vectors, merge

_LAYER = "baked"  # the texture coordinates that are made here
_SAMPLES = 4  # rays a texel: a pattern finer than the texels is averaged
_ISLANDS = np.radians(66.0)  # faces that turn less from one another lie on one island of the texture
_UNTOUCHED = -1e9  # of a texel
_FAINTEST = 0.02  # what covers less than this has no colour that could be told
_GAP = 2  # texels between two islands
_ENOUGH = 0.25  # of the texture, to be used
_GLASS = 0.5  # of a material: more makes it glass
_ALPHA = 0.5  # what covers less than this is cut away
_FEWEST = 4  # triangles that a piece has to keep, or it stays as it is
_MISSED = 0.05  # of the triangles to be left: with so many more, Blender has run out of edges to collapse


def parts_of(roots: Sequence[bpy.types.Object]) -> list[bpy.types.Object]:
    """Fresh objects of triangles: what the objects and their children show, modifiers and instances included.

    They stand where those stood, and nothing else is left in the scene. Objects that are not rendered are left out, and
    so is what has no faces (hair, lights, empties).
    """
    family = {member for root in roots for member in (root, *root.children_recursive)}
    bpy.context.view_layer.update()
    graph = bpy.context.evaluated_depsgraph_get()
    found: list[tuple[bpy.types.Mesh, Floats]] = []
    for instance in graph.object_instances:
        shown = instance.object
        owner = instance.parent.original if instance.is_instance else shown.original
        if (
            owner not in family
            or owner.hide_render
            or shown.type not in {"MESH", "CURVE", "SURFACE", "META", "FONT"}
        ):
            continue
        if instance.is_instance and shown.type == "MESH":  # of nodes: the object's own mesh is another
            mesh = shown.data.copy()
        else:
            mesh = bpy.data.meshes.new_from_object(shown, preserve_all_data_layers=True, depsgraph=graph)
        found.append((mesh, np.array(instance.matrix_world)))
    for item in list(bpy.data.objects):
        bpy.data.objects.remove(item)
    parts = []
    for number, (mesh, matrix) in enumerate(found):
        if not mesh.polygons:
            continue
        part = bpy.data.objects.new(f"part{number}", mesh)
        bpy.context.scene.collection.objects.link(part)
        part.matrix_world = matrix.T.tolist()
        _apply(part, "TRIANGULATE")
        parts.append(part)
    return parts


def faces_of(parts: Sequence[bpy.types.Object]) -> int:
    """The number of triangles."""
    return sum(len(part.data.polygons) for part in parts)


def decimate(parts: Sequence[bpy.types.Object], most: int) -> None:
    """Brings parts of triangles to about `most` of them together, each by the same ratio."""
    count = faces_of(parts)
    if count <= most:
        return
    ratio = most / count
    for part in parts:
        before, whole = len(part.data.polygons), part.data.copy()
        _apply(part, "DECIMATE", ratio=ratio, use_collapse_triangulate=True)
        if len(part.data.polygons) <= (1 + _MISSED) * ratio * before:
            bpy.data.meshes.remove(whole)
            continue
        # Where pieces cannot be collapsed, Blender makes up for it in the others until nothing is left of their shape.
        crumpled, part.data = part.data, whole
        bpy.data.meshes.remove(crumpled)
        _decimate_pieces(part, ratio)


def _decimate_pieces(part: bpy.types.Object, ratio: float) -> None:
    """Decimates what hangs together, each piece by itself; they are one object before and after."""
    pieces = _separated(part)
    for piece in pieces:
        if ratio * len(piece.data.polygons) < _FEWEST:
            continue
        _apply(piece, "DECIMATE", ratio=ratio, use_collapse_triangulate=True)
    _select(pieces, part)
    bpy.ops.object.join()


def _separated(part: bpy.types.Object) -> list[bpy.types.Object]:
    """The object and new ones, which hold a piece of its mesh each."""
    others = set(bpy.data.objects) - {part}
    _select([part], part)
    bpy.ops.mesh.separate(type="LOOSE")
    return [item for item in bpy.data.objects if item not in others]


def _select(chosen: Sequence[bpy.types.Object], active: bpy.types.Object) -> None:
    """Selects objects and no others for the next operator."""
    bpy.ops.object.select_all(action="DESELECT")
    for item in chosen:
        item.select_set(True)
    bpy.context.view_layer.objects.active = active


def bake(
    parts: Sequence[bpy.types.Object],
    folder: Path,
    side: int,
    front: npt.NDArray[np.float64],
    threads: int = 0,
) -> Surface:
    """The surface of the parts in our world frame, whose one texture, `side` texels square, is a PNG in `folder`.

    `front` is the axis of Blender's world that turns to our +z; Blender's +z stays up. Every material keeps the mean of
    its roughness and of its metal, and is glass where most of it is. What shaders make see-through is cut. Raises
    BrokenModelError for parts that cannot be unwrapped.
    """
    _unwrap(parts, side)
    materials = _materials(parts)
    shining = ShiningMaterials(materials)
    image = bpy.data.images.new(_LAYER, side, side, alpha=True, float_buffer=True)
    image.colorspace_settings.name = "Non-Color"
    for material in materials:
        node = material.node_tree.nodes.new("ShaderNodeTexImage")
        node.image = image
        material.node_tree.nodes.active = node
    _prepare_cycles(threads)
    channels: tuple[Channel, ...] = ("color", "surface")
    if shining.see_through:
        channels += ("cover", "opacity")
    baked = {channel: _bake(parts, shining, channel, image) for channel in channels}
    color, cover = baked["color"], baked.get("cover", np.ones_like(baked["color"]))
    if shining.see_through:
        color = _filled(color / np.maximum(cover, _FAINTEST), cover[..., 0] < _FAINTEST)
    path = folder / "color.png"
    pixels = srgb_bytes(color.astype(np.float64))
    cut = shining.see_through and bool((baked["opacity"] < _ALPHA).any())
    if cut:
        opacity = np.round(255 * baked["opacity"][..., :1].clip(0, 1)).astype(np.uint8)
        pixels = np.concatenate([pixels, opacity], axis=-1)
    Image.fromarray(pixels).save(path)
    rotation = _to_world(front)
    pieces = [_arrays(part, materials, rotation) for part in parts]
    made = [
        Material(
            f"material{number}",
            (1.0, 1.0, 1.0),
            Texture(path, wrap=("clamp", "clamp")),
            alpha="mask" if cut else "opaque",
            cutoff=_ALPHA,
            transmission=float(look[0] > _GLASS),
            roughness=float(look[1]),
            metallic=float(look[2]),
            specular=0.5,
        )
        for number, look in enumerate(_means(pieces, baked["surface"], cover, len(materials)))
    ]
    return merge(pieces, made)


def _apply(part: bpy.types.Object, kind: str, **settings: object) -> None:
    """Replaces the mesh of an object by what a modifier makes of it."""
    modifier = part.modifiers.new(kind, kind)
    for name, value in settings.items():
        setattr(modifier, name, value)
    graph = bpy.context.evaluated_depsgraph_get()
    graph.update()
    mesh = bpy.data.meshes.new_from_object(
        part.evaluated_get(graph), preserve_all_data_layers=True, depsgraph=graph
    )
    old = part.data
    part.modifiers.clear()
    part.data = mesh
    bpy.data.meshes.remove(old)


def _unwrap(parts: Sequence[bpy.types.Object], side: int) -> None:
    """Gives all parts together texture coordinates of their own, in which no two faces overlap.

    Their materials go on to use those that were there, which stay the ones for rendering.
    """
    bpy.ops.object.select_all(action="DESELECT")
    for part in parts:
        part.data.uv_layers.active = part.data.uv_layers.new(name=_LAYER, do_init=False)
        part.select_set(True)
    bpy.context.view_layer.objects.active = parts[0]
    for method in (
        "FRACTION",
        "SCALED",
    ):  # the first keeps the gap; it leaves no room for thousands of islands
        bpy.ops.object.mode_set(mode="EDIT")
        bpy.ops.mesh.select_all(action="SELECT")
        bpy.ops.uv.smart_project(angle_limit=_ISLANDS, island_margin=_GAP / side, margin_method=method)
        bpy.ops.object.mode_set(mode="OBJECT")
        if _used_share(parts) > (_ENOUGH if method == "FRACTION" else 0):
            return
    raise BrokenModelError("it cannot be unwrapped: its pieces do not fit on one texture")


def _used_share(parts: Sequence[bpy.types.Object]) -> float:
    """The share of the texture that the parts use, 0 where they lie beside it."""
    used = 0.0
    for part in parts:
        places = _floats(part.data.uv_layers[_LAYER].uv, "vector", 2 * len(part.data.loops)).reshape(-1, 3, 2)
        if not ((places >= 0) & (places <= 1)).all():
            return 0.0
        (a, b), (c, d) = (places[:, 1] - places[:, 0]).T, (places[:, 2] - places[:, 0]).T
        used += float(np.abs(a * d - b * c).sum()) / 2
    return used


def _materials(parts: Sequence[bpy.types.Object]) -> list[bpy.types.Material]:
    """All materials of the parts; a grey one where a part or one of its slots has none."""
    plain = None
    for part in parts:
        if not part.data.materials:
            part.data.materials.append(None)
        for slot, material in enumerate(part.data.materials):
            if material is None:
                plain = plain or bpy.data.materials.new("plain")
                part.data.materials[slot] = plain
    return list(dict.fromkeys(material for part in parts for material in part.data.materials))


def _prepare_cycles(threads: int) -> None:
    scene = bpy.context.scene
    scene.render.threads_mode, scene.render.threads = ("FIXED", threads) if threads else ("AUTO", 1)
    scene.render.engine = "CYCLES"
    scene.cycles.device = "CPU"
    scene.cycles.samples = _SAMPLES
    scene.cycles.use_adaptive_sampling = scene.cycles.use_denoising = False
    scene.cycles.sampling_pattern = "AUTOMATIC"
    scene.render.bake.margin = 0  # that of one object would lie over the texels of others
    scene.render.bake.use_clear = False  # texels off the surface stay as they are


def _bake(
    parts: Sequence[bpy.types.Object], shining: ShiningMaterials, channel: Channel, image: bpy.types.Image
) -> npt.NDArray[np.float32]:
    """[side,side,3] of a channel, the first row on top; texels off the surface have the colour of the nearest on it."""
    width, height = image.size
    image.pixels.foreach_set(np.full(width * height * 4, _UNTOUCHED, np.float32))
    shining.show(channel)
    bpy.ops.object.bake(type="EMIT")
    texels = _pixels(image).reshape(height, width, 4)[::-1, :, :3]
    return _filled(texels, texels[..., 0] == _UNTOUCHED)


def _filled(texels: npt.NDArray[np.float32], gaps: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """The texels [H,W,C] with those of a mask [H,W] replaced by the nearest others."""
    if gaps.all():
        return np.zeros_like(texels)
    nearest = distance_transform_edt(gaps, return_distances=False, return_indices=True)
    return np.ascontiguousarray(texels[tuple(nearest)])


def _to_world(front: npt.NDArray[np.float64]) -> Floats:
    """[3,3] from Blender's world to ours, with `front` turned to +z."""
    up = np.array([0.0, 0.0, 1.0])
    return np.stack([np.cross(up, front), up, front])


def _arrays(part: bpy.types.Object, materials: Sequence[bpy.types.Material], rotation: Floats) -> Part:
    """A part in our world frame, its materials numbered as in the list."""
    mesh, matrix = part.data, np.array(part.matrix_world)
    count, linear = len(mesh.polygons), rotation @ matrix[:3, :3]
    order = (2, 1, 0) if np.linalg.det(linear) < 0 else (0, 1, 2)  # mirrored: the other way round is outside
    corners = _numbers(mesh.loops, "vertex_index", 3 * count).reshape(-1, 3)
    slots = _numbers(mesh.polygons, "material_index", count)
    numbers = np.array([materials.index(material) for material in mesh.materials], np.int32)
    points = _floats(mesh.vertices, "co", 3 * len(mesh.vertices)).reshape(-1, 3)
    normals = _floats(mesh.corner_normals, "vector", 9 * count).reshape(-1, 3, 3) @ np.linalg.inv(linear)
    length = np.linalg.norm(normals, axis=-1, keepdims=True)
    uvs = _floats(mesh.uv_layers[_LAYER].uv, "vector", 6 * count).reshape(-1, 3, 2)
    return Part(
        points.astype(np.float64) @ linear.T + rotation @ matrix[:3, 3],
        corners[:, order].astype(np.int64),
        numbers[np.minimum(slots, len(numbers) - 1)],
        (uvs[:, order],),
        normals=np.divide(normals, length, out=np.zeros_like(normals), where=length > 0)[:, order].astype(
            np.float32
        ),
    )


def _floats(items: bpy.types.bpy_prop_collection, name: str, count: int) -> npt.NDArray[np.float32]:
    values: npt.NDArray[np.float32] = np.empty(count, np.float32)
    items.foreach_get(name, values)
    return values


def _pixels(image: bpy.types.Image) -> npt.NDArray[np.float32]:
    values: npt.NDArray[np.float32] = np.empty(len(image.pixels), np.float32)
    image.pixels.foreach_get(values)
    return values


def _numbers(items: bpy.types.bpy_prop_collection, name: str, count: int) -> npt.NDArray[np.int32]:
    values: npt.NDArray[np.int32] = np.empty(count, np.int32)
    items.foreach_get(name, values)
    return values


def _means(
    pieces: Sequence[Part], pixels: npt.NDArray[np.float32], cover: npt.NDArray[np.float32], count: int
) -> Floats:
    """[count,3] means of the texels over what is covered of the area of each material."""
    total, weight = np.zeros((count, 3)), np.zeros((count, 3))
    for piece in pieces:
        u, v = piece.uvs[0].mean(axis=1).T
        size = np.linalg.norm(area_vectors(piece.positions, piece.triangles), axis=1)[:, None]
        row = np.clip(((1 - v) * len(pixels)).astype(int), 0, len(pixels) - 1)
        column = np.clip((u * pixels.shape[1]).astype(int), 0, pixels.shape[1] - 1)
        np.add.at(total, piece.material, size * pixels[row, column])
        np.add.at(weight, piece.material, size * cover[row, column])
    return np.asarray(np.clip(total / np.maximum(weight, 1e-12), 0, 1))
