"""A Blender scene with light and a camera, in which one staged model after the other is drawn."""

from __future__ import annotations

import gc
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import bpy  # the first of them: it brings mathutils along

# isort: split
import numpy as np
import numpy.typing as npt
from blenderproc.python.camera import CameraUtility
from blenderproc.python.renderer import RendererUtility
from blenderproc.python.utility.Initializer import _Initializer, clean_up
from blenderproc.python.utility.Utility import Utility
from mathutils import Matrix

from synthetic.blender.compositor import compositor, depth_socket, disable_denoiser, exr_path, write_exr
from synthetic.blender.lighting import Lighting
from synthetic.blender.materials import ALBEDO, NORMALS, POSITION, PROPERTIES, MaterialMaker
from synthetic.blender.mesh import WORLD_TO_BLENDER, build_mesh
from synthetic.blender.passes import CentrePass, laid_on, take
from synthetic.dataset import RenderedView
from synthetic.staging.sampling import srgb_bytes
from synthetic.staging.surface import Material, StagedModel, renumbered
from synthetic.surroundings.draws import ViewSurroundings
from synthetic.viewpoints import Viewpoint, covered_pixels, intrinsics

_ROOM, _ROOM_HEIGHT = 3.5, 7.0  # half a side and the height of a room, in world units
_LAYERS_OF_LEAVES = 256  # a ray passes so many gaps of cut-out faces before it ends
_USUAL = ViewSurroundings()
_FAR_AWAY = 1e9  # Blender says 1e10 where nothing was hit
_MARGIN = 3  # pixels around a model that are drawn, too: more than the pixel filter and rounding reach


class BlenderScene:
    """Renders one model after the other."""

    def __init__(
        self,
        resolution: int,
        samples: int,
        workspace: Path,
        threads: int = 0,
        normals: bool = False,
        albedo: bool = False,
        passes: Collection[str] = (),
        ground: bool = False,
    ) -> None:
        """Sets Blender up: `resolution` pixels a side, `samples` a pixel, scratch files in `workspace`.

        `threads` 0 takes as many as there are cores. With `normals` or `albedo` views have them, and those of the
        dataset's PASSES that `passes` names; any, or all together, cost a second rendering of one ray a pixel, as do
        models on a `ground` (part -1 of their surface), from which they are told apart.
        """
        self._resolution = resolution
        self._workspace = workspace
        self._shown: npt.NDArray[np.float64] | None = (
            None  # [V,3] positions of the model, None where all is drawn
        )
        Utility.temp_dir = str(workspace)
        clean_up(clean_up_camera=True)
        RendererUtility.set_render_devices(use_only_cpu=True)
        disable_denoiser()
        _Initializer.set_default_parameters()
        RendererUtility.set_cpu_threads(threads)
        RendererUtility.set_noise_threshold(0)  # the same number of samples everywhere
        RendererUtility.set_max_amount_of_samples(samples)
        RendererUtility.set_light_bounces(
            glossy_bounces=2,  # at 0, samples that go for a reflection come back black
            transparent_max_bounces=_LAYERS_OF_LEAVES,
        )
        RendererUtility.set_output_format("PNG", 8, enable_transparency=True, view_transform="Standard")
        scene = bpy.context.scene
        tree = compositor(scene)
        write_exr(tree, workspace, {"depth": depth_socket(tree, bpy.context.view_layer)})
        scene.cycles.sampling_pattern = "AUTOMATIC"  # the default of 5.0 alone is another one
        scene.render.image_settings.compression = 0  # the files between Blender and us live for a moment
        scene.render.dither_intensity = 0.0
        scene.render.use_persistent_data = False  # on, it keeps 0.65 MB of every model for ever
        scene.frame_set(0)
        self._lighting = Lighting()
        self._passes, self._ground = frozenset(passes), ground
        self._outputs = [
            name
            for name, asked in (
                (ALBEDO, albedo),
                (NORMALS, normals),
                (POSITION, POSITION in passes),
                (PROPERTIES, ground or bool(self._passes - {POSITION})),
            )
            if asked
        ]
        self._centre_pass = CentrePass(workspace, self._outputs) if self._outputs else None
        gc.freeze()  # what the libraries hold stays; looking it through again and again costs 2 ms a model

    def load(self, staged: StagedModel) -> None:
        """Puts a staged model in the place of whatever object is in the scene."""
        _remove_models(self._lighting.picture)
        surface = staged.surface
        self._shown = surface.positions
        maker = MaterialMaker(surface.colors is not None, self._outputs)
        used, slots = renumbered(surface.material)
        materials = [maker.make(surface.materials[number]) for number in used]
        mesh = build_mesh(surface, slots, maker.uv_layers, PROPERTIES in self._outputs)
        for material in materials:
            mesh.materials.append(material)
        _put(mesh)

    def build_room(self, colours: Sequence[tuple[float, float, float]]) -> None:
        """Stands the object loaded last on a ground of the first of `colours`, amid walls of the second.

        The walls take no light from anything.
        """
        lowest = 0.0 if self._shown is None else float(self._shown[:, 1].min())
        self._shown = None
        low = np.array([-_ROOM, lowest, -_ROOM])
        high = np.array([_ROOM, lowest + _ROOM_HEIGHT, _ROOM])
        world = np.array([np.where(bits, high, low) for bits in np.ndindex(2, 2, 2)])  # row 4x + 2y + z
        corners = (world @ WORLD_TO_BLENDER.T).tolist()
        ground, walls = [(0, 1, 5, 4)], [(0, 4, 6, 2), (1, 3, 7, 5), (0, 2, 3, 1), (4, 5, 7, 6)]
        for name, faces, colour in zip(("ground", "walls"), (ground, walls), colours, strict=True):
            mesh = bpy.data.meshes.new(name)
            mesh.from_pydata(corners, [], faces)
            mesh.materials.append(MaterialMaker(False, self._outputs).make(Material(name, colour)))
            item = _put(mesh)
            if name == "walls":
                item.visible_shadow = item.visible_diffuse = item.visible_glossy = False

    def render(self, viewpoint: Viewpoint, around: ViewSurroundings = _USUAL) -> RenderedView | None:
        """A view of the object loaded last in its light, None where the camera sees nothing of it."""
        side = self._resolution
        self._lighting.set(around.light)
        CameraUtility.set_intrinsics_from_K_matrix(intrinsics(viewpoint.fov, side), side, side)
        pose = viewpoint.cam2world()
        pose[:3] = WORLD_TO_BLENDER @ pose[:3]
        bpy.context.scene.camera.animation_data_clear()  # or the last pose shows through in the last bit
        bpy.context.scene.camera.matrix_world = Matrix.Identity(4)
        CameraUtility.add_camera_pose(pose, frame=0)
        self._draw_only(viewpoint)
        RendererUtility.render(str(self._workspace), "color_", None, return_data=False, verbose=True)
        rgba = take(self._workspace / "color_0000.png")[..., [2, 1, 0, 3]]
        depth = _without_gap(take(exr_path(self._workspace, "depth", 0))[..., 2])
        outputs: dict[str, npt.NDArray[np.float32]] = {}
        if self._centre_pass and (depth < _FAR_AWAY).any():
            depth, outputs = self._centre_pass.render()
            depth = _without_gap(depth)
        hit = mask = depth < _FAR_AWAY
        if self._ground and PROPERTIES in outputs:
            mask = hit & (outputs[PROPERTIES][..., 2] > 0.5)
        if not mask.any():
            return None
        normals, albedo = outputs.get(NORMALS), outputs.get(ALBEDO)
        return RenderedView(
            laid_on(rgba, around.background),
            np.where(hit, depth, np.float32(np.inf)),
            mask,
            None if normals is None else _unit_normals(normals, hit),
            None
            if albedo is None
            else np.where(hit[..., None], srgb_bytes(albedo.astype(np.float64)), np.uint8(255)),
            self._chosen_passes(outputs, hit),
        )

    def _chosen_passes(
        self, outputs: Mapping[str, npt.NDArray[np.float32]], hit: npt.NDArray[np.bool_]
    ) -> dict[str, npt.NDArray[Any]]:
        found: dict[str, npt.NDArray[Any]] = {}
        if POSITION in outputs:
            found["position"] = _positions(outputs[POSITION], hit)
        if PROPERTIES in outputs:
            roughness, metallic, instance = np.moveaxis(
                np.where(hit[..., None], outputs[PROPERTIES], 0), -1, 0
            )
            found["roughness"], found["metallic"] = roughness, metallic
            found["instance"] = np.rint(instance).astype(np.int32)
        return {name: values for name, values in found.items() if name in self._passes}

    def _draw_only(self, viewpoint: Viewpoint) -> None:
        """Leaves out the pixels around the model, in which nothing can be seen; the others stay the same to the bit."""
        side, settings = self._resolution, bpy.context.scene.render
        settings.use_border = self._shown is not None
        if self._shown is None:
            return
        left, top, right, bottom = covered_pixels(viewpoint, self._shown, side)
        settings.border_min_x, settings.border_max_x = (left - _MARGIN) / side, (right + _MARGIN) / side
        settings.border_min_y, settings.border_max_y = (
            1 - (bottom + _MARGIN) / side,
            1 - (top - _MARGIN) / side,
        )


def _put(mesh: bpy.types.Mesh) -> bpy.types.Object:
    item = bpy.data.objects.new(mesh.name, mesh)
    item.hide_viewport = True  # which nobody sees: else Blender works out all of the mesh twice
    bpy.context.scene.collection.objects.link(item)
    return item


def _remove_models(kept: bpy.types.Image | None) -> None:
    """Removes every mesh, material and picture but one: nothing of a model is left for the next one."""
    data = bpy.data
    pictures = [image for image in data.images if image.source == "FILE" and image != kept]
    shown = [item for item in data.objects if item.type == "MESH"]
    data.batch_remove([*shown, *data.meshes, *data.materials, *pictures])


def _without_gap(depth: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """[R,R] depth in which pixels that were not drawn (0) are as those in which nothing was hit."""
    return np.where(depth > 0, depth, 10 * _FAR_AWAY).astype(np.float32)


def _positions(places: npt.NDArray[np.float32], mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """[R,R,3] points in the world frame, 0 off the mask."""
    world = places.astype(np.float64) @ WORLD_TO_BLENDER
    return np.where(mask[..., None], world, 0).astype(np.float32)


def _unit_normals(code: npt.NDArray[np.float32], mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """[R,R,3] unit normals in the world frame, 0 off the mask."""
    normals = code.astype(np.float64) @ WORLD_TO_BLENDER
    length = np.linalg.norm(normals, axis=-1, keepdims=True)
    unit = np.divide(normals, length, out=np.zeros_like(normals), where=mask[..., None] & (length > 0.5))
    return np.asarray(unit, dtype=np.float32)
