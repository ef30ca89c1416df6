"""Reliefs of photographs: a mesh with the photograph and what was filled in behind it, and the camera that took it."""

from __future__ import annotations

import math
from pathlib import Path

import bpy
import numpy as np

from ..mesh_bundle import Placement, Relief, Viewpoint, linear_mean
from ..recipe import BuildOptions
from .scene import build_shape, image_material, material_of

CAMERA = "gp3d_camera"  # custom property of the camera that is a child of its relief: width and height of the picture
_SMALL = 32  # pixels a side that a mean colour is taken from
_ROOM = 2.0  # how far beyond the relief the camera still sees, and before it


def build_relief(relief: Relief, name: str, options: BuildOptions, place: Placement) -> bpy.types.Mesh:
    """A mesh in its `place` with two materials, the photograph's and that of what was filled in."""
    mesh = build_shape(relief.mesh, name, place, options["smooth"])
    image = _photograph(relief.photograph, name)
    mesh.materials.append(image_material(image, _mean_color(image), name, options))
    if relief.filled is not None:
        mesh.materials.append(material_of(relief.filled, f"{name}_filled", options))
    return mesh


def attach_camera(obj: bpy.types.Object, view: Viewpoint, place: Placement) -> None:
    """Gives `obj` the camera that took its picture, as a child; one that it has is moved, so that scenes keep it."""
    camera = camera_of(obj)
    if camera is None:
        name = f"{obj.name}_camera"
        camera = bpy.data.objects.new(name, bpy.data.cameras.new(name))
        camera.parent = obj
        for collection in obj.users_collection:
            collection.objects.link(camera)
    upright = view.width < view.height
    lens = camera.data
    lens.sensor_fit = "VERTICAL" if upright else "HORIZONTAL"
    across = lens.sensor_height if upright else lens.sensor_width
    lens.lens = across / (2 * math.tan(math.radians(view.fov) / 2))
    lens.clip_start, lens.clip_end = view.near * place.scale / _ROOM, view.far * place.scale * _ROOM
    lens.display_size = 0.1 * view.distance * place.scale
    camera.location = place(np.array([[0.0, -view.distance, 0.0]]))[0]
    camera.rotation_euler = (math.pi / 2, 0.0, 0.0)  # from its own axis, −z, to +y
    camera[CAMERA] = [view.width, view.height]


def camera_of(obj: bpy.types.Object | None) -> bpy.types.Object | None:
    """The camera that took the picture of `obj`; None of any object without one."""
    children = () if obj is None else obj.children
    return next((child for child in children if child.type == "CAMERA" and CAMERA in child), None)


def look_through(scene: bpy.types.Scene, camera: bpy.types.Object) -> None:
    """Renders of `scene` show the photograph: its camera, its size, and colours as they are."""
    width, height = (int(side) for side in camera[CAMERA])
    scene.camera = camera
    scene.render.resolution_x, scene.render.resolution_y = width, height
    scene.render.resolution_percentage = 100
    scene.render.pixel_aspect_x = scene.render.pixel_aspect_y = 1.0
    scene.view_settings.view_transform = "Standard"
    scene.view_settings.look = "None"
    scene.view_settings.exposure, scene.view_settings.gamma = 0.0, 1.0


def _photograph(path: Path, name: str) -> bpy.types.Image:
    """The picture at `path`, packed as it is. Raises RuntimeError if Blender cannot read it."""
    image = bpy.data.images.load(str(path))
    image.name = name
    if not image.size[0]:
        bpy.data.images.remove(image)
        raise RuntimeError(f"no readable picture: {path}")
    image.pack()
    image.filepath_raw = ""  # the file will be gone
    return image


def _mean_color(image: bpy.types.Image) -> tuple[float, float, float]:
    """In linear light, of a small copy."""
    small = image.copy()
    small.scale(_SMALL, _SMALL)
    values = np.empty(_SMALL * _SMALL * 4, np.float32)
    small.pixels.foreach_get(values)
    bpy.data.images.remove(small)
    return linear_mean(np.rint(np.clip(values.reshape(-1, 4)[:, :3], 0, 1) * 255).astype(np.uint8))
