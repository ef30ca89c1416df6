"""A Blender scene with light and a camera, kept for many objects: load one, look at it from somewhere, again.

The only module of this package that touches Blender (through BlenderProc where it has what is needed).
`synthetic.process.prepare_blender` must have run before this module is imported.
Blender's world is z up. Two kinds of OBJ files come in, and for each there is one rotation that takes the world
frame of `synthetic.viewpoints` to where Blender's importer, (x, y, z) -> (x, -z, y), has put the object.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

import bpy  # the first of them: it brings bmesh and mathutils along

# isort: split
import bmesh
import cv2
import numpy as np
import numpy.typing as npt
from blenderproc.python.camera import CameraUtility
from blenderproc.python.loader.ObjectLoader import load_obj
from blenderproc.python.renderer import RendererUtility
from blenderproc.python.types.LightUtility import Light
from blenderproc.python.types.MeshObjectUtility import MeshObject
from blenderproc.python.utility.Initializer import _Initializer, clean_up
from blenderproc.python.utility.Utility import Utility
from mathutils import Vector

from synthetic.dataset import Picture
from synthetic.shapenet import BrokenModelError
from synthetic.viewpoints import Viewpoint, intrinsics

Rotation = npt.NDArray[np.float64]
FROM_SHAPENET: Rotation = np.array([[-1.0, 0, 0], [0, 0, 1], [0, 1, 0]])  # for files whose front is -z
FROM_WORLD: Rotation = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # for files in our own world frame

_SKY = 0.5  # radiance of the uniform sky
_SUN = 1.6  # irradiance of the sun: a white face turned to it returns sky + sun/pi, just about 1
_SUN_FROM = (-0.55, 0.75, 0.6)  # left, above and in front of the object, in our world frame
_SUN_ANGLE = math.radians(12.0)  # soft enough to hide the edge of shadows in small pictures
_OPAQUE = 0.999
UNIT_BALL = 1.001  # a model with diagonal 1 reaches no farther, wherever in its box the origin lies
_FAR_AWAY = 1e9  # Blender says 1e10 where nothing was hit


class Studio:
    """Takes pictures of one model after the other."""

    def __init__(self, resolution: int, samples: int, workspace: Path) -> None:
        """Sets Blender up: `resolution` pixels a side, `samples` a pixel, scratch files in `workspace`."""
        self._resolution = resolution
        self._workspace = workspace
        Utility.temp_dir = str(workspace)
        clean_up(clean_up_camera=True)
        RendererUtility.set_render_devices(use_only_cpu=True)
        _Initializer.set_default_parameters()
        RendererUtility.set_denoiser(None)
        RendererUtility.set_noise_threshold(0)  # the same number of samples everywhere
        RendererUtility.set_max_amount_of_samples(samples)
        RendererUtility.set_light_bounces(glossy_bounces=2)  # at 0, samples that go for a reflection come back black
        RendererUtility.set_output_format("PNG", 8, enable_transparency=True, view_transform="Standard")
        RendererUtility.enable_depth_output(activate_antialiasing=False)
        bpy.context.scene.render.dither_intensity = 0.0
        bpy.context.scene.render.use_persistent_data = False  # on, it keeps 0.65 MB of every model for ever
        self._from_world = FROM_SHAPENET

    def load(self, path: Path, faces: int, from_world: Rotation = FROM_SHAPENET, reach: float = UNIT_BALL,
             ) -> None:
        """Replaces the object in the scene by an OBJ file that claims `faces` faces, less its transparent ones.

        `reach` is the farthest from the origin that a vertex may lie. Raises BrokenModelError.
        """
        clean_up()
        self._from_world = from_world
        self._light()
        mesh = _import(path).get_mesh()
        if len(mesh.polygons) < faces / 2:
            raise BrokenModelError(f"only {len(mesh.polygons)} of {faces} faces could be read")
        _remove_transparent_faces(mesh)
        _check_mesh(mesh, reach)
        _check_textures()
        if mesh.color_attributes and not mesh.materials:
            mesh.materials.append(_vertex_color_material(mesh.color_attributes[0].name))

    def render(self, viewpoint: Viewpoint) -> Picture:
        """What the camera sees of the object loaded last. Raises BrokenModelError where it sees nothing."""
        side = self._resolution
        CameraUtility.set_intrinsics_from_K_matrix(intrinsics(viewpoint.fov, side), side, side)
        pose = viewpoint.cam2world()
        pose[:3] = self._from_world @ pose[:3]
        CameraUtility.add_camera_pose(pose, frame=0)
        RendererUtility.render(str(self._workspace), "color_", return_data=False, verbose=True)
        rgba = self._take("color_0000.png")[..., [2, 1, 0, 3]]  # OpenCV reads blue first
        depth = self._take("depth_0000.exr")[..., 0].astype(np.float32)
        mask = depth < _FAR_AWAY
        if not mask.any():
            raise BrokenModelError("nothing of it can be seen")
        return Picture(_on_white(rgba), np.where(mask, depth, np.float32(np.inf)), mask)

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


def _import(path: Path) -> MeshObject:
    try:
        objects = load_obj(str(path), use_split_objects=False, use_split_groups=False)
    except RuntimeError as error:
        raise BrokenModelError(f"Blender cannot import it: {error}".strip()) from None
    if len(objects) != 1:
        raise BrokenModelError(f"Blender found {len(objects)} objects in it, expected one")
    objects[0].persist_transformation_into_mesh()
    return objects[0]


def _remove_transparent_faces(mesh: bpy.types.Mesh) -> None:
    transparent = [index for index, material in enumerate(mesh.materials)
                   if material and _lets_light_through(material)]
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
    positions = np.empty(3 * len(mesh.vertices), dtype=np.float32)
    mesh.vertices.foreach_get("co", positions)
    farthest = float(np.linalg.norm(positions.reshape(-1, 3).astype(np.float64), axis=1).max())
    if not farthest <= reach:
        raise BrokenModelError(f"a vertex lies {farthest:.3g} from the origin, expected at most {reach:.3g}: "
                               "normalise the model to a box of diagonal 1")


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
    shader.inputs["Specular IOR Level"].default_value = 0.0  # matte, as the importer makes of a plain material
    material.node_tree.links.new(color.outputs["Color"], shader.inputs["Base Color"])
    return material


def _on_white(rgba: npt.NDArray[np.generic]) -> npt.NDArray[np.uint8]:
    color, alpha = rgba[..., :3].astype(np.float64), rgba[..., 3:].astype(np.float64) / 255
    return np.asarray(np.round(color * alpha + 255 * (1 - alpha)), dtype=np.uint8)
