"""A Blender scene with light and a camera, in which one object after the other is loaded and rendered.

The only module of this package that touches Blender (through BlenderProc where it has what is needed).
`synthetic.workers.blender_process.prepare_blender` must have run before this module is imported.
Blender's world is z up: its importers take (x, y, z) of a file with y up to (x, -z, y). The object stays where the
importer puts it; `from_world` is the rotation that takes our world frame (y up, front +z) there.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path

import bpy  # the first of them: it brings bmesh and mathutils along

# isort: split
import bmesh
import cv2
import numpy as np
import numpy.typing as npt
from blenderproc.python.camera import CameraUtility
from blenderproc.python.renderer import RendererUtility
from blenderproc.python.types.LightUtility import Light
from blenderproc.python.utility.Initializer import _Initializer, clean_up
from blenderproc.python.utility.Utility import Utility
from mathutils import Matrix, Vector

from synthetic.dataset import RenderedView
from synthetic.library.shapenet import UNIT_BALL, BrokenModelError, Placement
from synthetic.library.staging import StagedModel
from synthetic.viewpoints import Viewpoint, intrinsics

Array = npt.NDArray[np.float64]
_IMPORTER: Array = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # from a file with y up to Blender

_SKY = 0.5  # radiance of the uniform sky
_SUN = 1.6  # irradiance of the sun: a white face turned to it returns sky + sun/pi, just about 1
_SUN_FROM = (-0.55, 0.75, 0.6)  # left, above and in front of the object, in our world frame
_SUN_ANGLE = math.radians(12.0)  # soft enough to hide the edge of shadows in small pictures
_ROOM, _ROOM_HEIGHT = 3.5, 7.0  # half a side and the height of a room, in world units
_OPAQUE = 0.999
_FAR_AWAY = 1e9  # Blender says 1e10 where nothing was hit


class BlenderScene:
    """Renders one model after the other."""

    def __init__(
        self, resolution: int, samples: int, workspace: Path, threads: int = 0, normals: bool = False
    ) -> None:
        """Sets Blender up: `resolution` pixels a side, `samples` a pixel, scratch files in `workspace`.

        `threads` 0 takes as many as there are cores. With `normals` views have them; they cost a second rendering.
        """
        self._resolution = resolution
        self._workspace = workspace
        self._normals = normals
        Utility.temp_dir = str(workspace)
        clean_up(clean_up_camera=True)
        RendererUtility.set_render_devices(use_only_cpu=True)
        _Initializer.set_default_parameters()
        RendererUtility.set_cpu_threads(threads)
        RendererUtility.set_denoiser(None)
        RendererUtility.set_noise_threshold(0)  # the same number of samples everywhere
        RendererUtility.set_max_amount_of_samples(samples)
        RendererUtility.set_light_bounces(
            glossy_bounces=2
        )  # at 0, samples that go for a reflection come back black
        RendererUtility.set_output_format("PNG", 8, enable_transparency=True, view_transform="Standard")
        RendererUtility.enable_depth_output(activate_antialiasing=False)
        bpy.context.scene.render.image_settings.compression = (
            0  # the files between Blender and us live for a moment
        )
        bpy.context.scene.render.dither_intensity = 0.0
        bpy.context.scene.render.use_persistent_data = False  # on, it keeps 0.65 MB of every model for ever
        self._from_world = _IMPORTER

    def load(self, staged: StagedModel, placement: Placement, reach: float = UNIT_BALL) -> Array:
        """The [4,4] file to world of a staged model, which replaces the object in the scene, less transparent faces.

        `reach` is the farthest from the origin that a vertex may lie. Raises BrokenModelError.
        """
        clean_up()
        self._from_world = _IMPORTER @ placement.rotation().T
        self._light()
        mesh = _import(staged.path)
        if len(mesh.polygons) < staged.faces / 2:
            raise BrokenModelError(f"only {len(mesh.polygons)} of {staged.faces} faces could be read")
        to_world = np.eye(4)
        to_world[:3, :3] = placement.rotation()
        if placement.normalise:
            to_world = to_world @ _normalise(mesh)
        _remove_transparent_faces(mesh)
        _check_mesh(mesh, reach)
        _check_textures()
        if mesh.color_attributes and not any(mesh.materials):
            mesh.materials.clear()
            mesh.materials.append(_vertex_color_material(mesh.color_attributes[0].name))
        return to_world

    def build_room(self, colours: Sequence[tuple[float, float, float]]) -> None:
        """Stands the object loaded last on a ground of the first of `colours`, amid walls of the second.

        The walls take no light from anything.
        """
        mesh = next(item.data for item in bpy.context.scene.objects if item.type == "MESH")
        lowest = float((_positions(mesh) @ self._from_world)[:, 1].min())  # in our world frame, y up
        low, high = np.array([-_ROOM, lowest, -_ROOM]), np.array([_ROOM, lowest + _ROOM_HEIGHT, _ROOM])
        world = np.array([np.where(bits, high, low) for bits in np.ndindex(2, 2, 2)])  # row 4x + 2y + z
        corners = (world @ self._from_world.T).tolist()
        ground, walls = [(0, 1, 5, 4)], [(0, 4, 6, 2), (1, 3, 7, 5), (0, 2, 3, 1), (4, 5, 7, 6)]
        for name, faces, colour in zip(("ground", "walls"), (ground, walls), colours, strict=True):
            made = bpy.data.meshes.new(name)
            made.from_pydata(corners, [], faces)
            made.materials.append(_matte_material(name, colour))
            item = bpy.data.objects.new(name, made)
            bpy.context.scene.collection.objects.link(item)
            if name == "walls":
                item.visible_shadow = item.visible_diffuse = item.visible_glossy = False

    def render(self, viewpoint: Viewpoint) -> RenderedView | None:
        """A view of the object loaded last, None where the camera sees nothing of it."""
        side = self._resolution
        CameraUtility.set_intrinsics_from_K_matrix(intrinsics(viewpoint.fov, side), side, side)
        pose = viewpoint.cam2world()
        pose[:3] = self._from_world @ pose[:3]
        bpy.context.scene.camera.animation_data_clear()  # or the last pose shows through in the last bit
        bpy.context.scene.camera.matrix_world = Matrix.Identity(4)
        CameraUtility.add_camera_pose(pose, frame=0)
        RendererUtility.render(str(self._workspace), "color_", None, return_data=False, verbose=True)
        rgba = self._take("color_0000.png")[..., [2, 1, 0, 3]]  # OpenCV reads blue first
        depth = self._take("depth_0000.exr")[..., 0].astype(np.float32)
        mask = depth < _FAR_AWAY
        if not mask.any():
            return None
        normals = self._render_normals(mask) if self._normals else None
        return RenderedView(_on_white(rgba), np.where(mask, depth, np.float32(np.inf)), mask, normals)

    def _render_normals(self, mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
        """Unit normals [R,R,3] in the world frame: the surface emits its normal, rendered with one ray a pixel."""
        scene, layer = bpy.context.scene, bpy.context.view_layer
        layer.material_override = bpy.data.materials.get("normals") or _normal_material()
        samples, width = scene.cycles.samples, scene.cycles.filter_width
        scene.cycles.samples, scene.cycles.filter_width = 1, 0.01
        scene.render.image_settings.file_format, scene.render.image_settings.color_depth = "OPEN_EXR", "32"
        RendererUtility.render(str(self._workspace), "normals_", None, return_data=False, verbose=True)
        scene.render.image_settings.file_format, scene.render.image_settings.color_depth = "PNG", "8"
        scene.cycles.samples, scene.cycles.filter_width = samples, width
        layer.material_override = None
        self._take("depth_0000.exr")
        code = self._take("normals_0000.exr")[..., [2, 1, 0]].astype(np.float64)
        normals = (2 * code - 1) @ self._from_world
        length = np.linalg.norm(normals, axis=-1, keepdims=True)
        unit = np.divide(normals, length, out=np.zeros_like(normals), where=mask[..., None] & (length > 0.5))
        return np.asarray(unit, dtype=np.float32)

    def _take(self, name: str) -> npt.NDArray[np.generic]:
        path = self._workspace / name
        pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if pixels is None:
            raise RuntimeError(f"OpenCV could not read {name}; it has to be built with OpenEXR (4.12 is)")
        path.unlink()
        return np.asarray(pixels)

    def _light(self) -> None:
        RendererUtility.set_world_background([1.0, 1.0, 1.0], _SKY)
        sun = Light("SUN", name="sun")
        sun.set_energy(_SUN)
        sun.blender_obj.data.angle = _SUN_ANGLE
        sun.set_rotation_euler(Vector(self._from_world @ _SUN_FROM).to_track_quat("Z", "Y").to_euler())


def _import(path: Path) -> bpy.types.Mesh:
    """The mesh of a file as one object, Blender's world coordinates in its vertices."""
    try:
        if path.suffix == ".glb":
            bpy.ops.import_scene.gltf(filepath=str(path), import_shading="NORMALS")
        elif path.suffix == ".ply":
            bpy.ops.wm.ply_import(filepath=str(path), forward_axis="NEGATIVE_Z", up_axis="Y")
        else:
            bpy.ops.wm.obj_import(
                filepath=str(path), validate_meshes=False, use_split_objects=False, use_split_groups=False
            )
    except RuntimeError as error:
        raise BrokenModelError(f"Blender cannot import it: {error}".strip()) from None
    objects = [item for item in bpy.context.scene.objects if item.type == "MESH"]
    if not objects:
        raise BrokenModelError("Blender found no surface in it")
    for item in objects:
        if item.data.users > 1:
            item.data = item.data.copy()  # instances
        item.data.transform(item.matrix_world)
        if item.matrix_world.is_negative:
            item.data.flip_normals()
    for item in objects:
        item.parent = None
        item.matrix_world = Matrix.Identity(4)
    if len(objects) > 1:
        with bpy.context.temp_override(active_object=objects[0], selected_editable_objects=objects):
            bpy.ops.object.join()
    return objects[0].data


def _normalise(mesh: bpy.types.Mesh) -> Array:
    """Centres the box around a mesh and scales its diagonal to 1; [4,4] matrix that does the same to the file."""
    positions = _positions(mesh)
    low, high = positions.min(axis=0), positions.max(axis=0)
    diagonal = float(np.linalg.norm(high - low))
    if not (math.isfinite(diagonal) and diagonal > 0):
        raise BrokenModelError(f"the box around it has a diagonal of {diagonal}")
    matrix = np.eye(4)
    matrix[:3] = np.column_stack([np.eye(3), -(low + high) / 2]) / diagonal
    mesh.transform(Matrix(matrix.tolist()))
    matrix[:3, 3] = _IMPORTER.T @ matrix[:3, 3]
    return matrix


def _positions(mesh: bpy.types.Mesh) -> Array:
    flat = np.empty(3 * len(mesh.vertices), dtype=np.float32)
    mesh.vertices.foreach_get("co", flat)
    return flat.reshape(-1, 3).astype(np.float64)


def _remove_transparent_faces(mesh: bpy.types.Mesh) -> None:
    transparent = [
        index for index, material in enumerate(mesh.materials) if material and _lets_light_through(material)
    ]
    if not transparent:
        return
    editable = bmesh.new()
    editable.from_mesh(mesh)
    faces = [face for face in editable.faces if face.material_index in transparent]
    bmesh.ops.delete(editable, geom=faces, context="FACES")
    editable.to_mesh(mesh)
    editable.free()


def _lets_light_through(material: bpy.types.Material) -> bool:
    shaders = [node for node in material.node_tree.nodes if node.type == "BSDF_PRINCIPLED"]
    alphas = [shader.inputs["Alpha"] for shader in shaders]
    return any(alpha.is_linked or alpha.default_value < _OPAQUE for alpha in alphas)


def _check_mesh(mesh: bpy.types.Mesh, reach: float) -> None:
    if not mesh.polygons:
        raise BrokenModelError("all of its faces are transparent")
    farthest = float(np.linalg.norm(_positions(mesh), axis=1).max())
    if not farthest <= reach:
        raise BrokenModelError(
            f"a vertex lies {farthest:.3g} from the origin, expected at most {reach:.3g}: "
            "normalise the model to a box of diagonal 1"
        )


def _check_textures() -> None:
    for image in bpy.data.images:
        if image.source == "FILE" and not all(image.size):
            raise BrokenModelError(f"its texture {os.path.basename(image.filepath)} is missing or unreadable")


def _vertex_color_material(attribute: str) -> bpy.types.Material:
    material = bpy.data.materials.new("vertex colors")
    material.use_nodes = True
    nodes = material.node_tree.nodes
    color = nodes.new("ShaderNodeVertexColor")
    color.layer_name = attribute
    shader = next(node for node in nodes if node.type == "BSDF_PRINCIPLED")
    shader.inputs[
        "Specular IOR Level"
    ].default_value = 0.0  # matte, as the importer makes of a plain material
    material.node_tree.links.new(color.outputs["Color"], shader.inputs["Base Color"])
    return material


def _matte_material(name: str, colour: tuple[float, float, float]) -> bpy.types.Material:
    material = bpy.data.materials.new(name)
    material.use_nodes = True
    shader = next(node for node in material.node_tree.nodes if node.type == "BSDF_PRINCIPLED")
    shader.inputs["Base Color"].default_value = (*colour, 1.0)
    shader.inputs["Roughness"].default_value = 1.0
    shader.inputs["Specular IOR Level"].default_value = 0.0
    return material


def _normal_material() -> bpy.types.Material:
    material = bpy.data.materials.new("normals")
    material.use_nodes = True
    nodes, links = material.node_tree.nodes, material.node_tree.links
    nodes.clear()
    code, glow = nodes.new("ShaderNodeVectorMath"), nodes.new("ShaderNodeEmission")
    code.operation = "MULTIPLY_ADD"
    code.inputs[1].default_value = code.inputs[2].default_value = (0.5, 0.5, 0.5)
    links.new(nodes.new("ShaderNodeNewGeometry").outputs["True Normal"], code.inputs[0])
    links.new(code.outputs["Vector"], glow.inputs["Color"])
    links.new(glow.outputs["Emission"], nodes.new("ShaderNodeOutputMaterial").inputs["Surface"])
    return material


def _on_white(rgba: npt.NDArray[np.generic]) -> npt.NDArray[np.uint8]:
    color, alpha = rgba[..., :3].astype(np.float64), rgba[..., 3:].astype(np.float64) / 255
    return np.asarray(np.round(color * alpha + 255 * (1 - alpha)), dtype=np.uint8)
