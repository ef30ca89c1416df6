"""A Blender scene with light and a camera, in which one staged model after the other is drawn."""

from __future__ import annotations

import gc
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, TypeAlias

from synthetic.blender.without_interface import bpy  # the first of them: it brings mathutils along

# isort: split
import numpy as np
import numpy.typing as npt
from mathutils import Matrix

from synthetic.blender.blenderproc_parts import (
    CameraUtility,
    Initializer,
    RendererUtility,
    Utility,
    clean_up,
)
from synthetic.blender.denoiser import disable_denoiser
from synthetic.blender.lighting import Lighting
from synthetic.blender.materials import ALBEDO, NORMALS, POSITION, PROPERTIES, KeptMaterials, MaterialMaker
from synthetic.blender.mesh import WORLD_TO_BLENDER, build_mesh
from synthetic.blender.passes import ByteWriter, CentrePass
from synthetic.blender.views import Passes, Window, draw_views, use_views
from synthetic.dataset import RenderedView
from synthetic.staging.sampling import srgb_bytes
from synthetic.staging.surface import Material, StagedModel, renumbered
from synthetic.surroundings.draws import ViewSurroundings
from synthetic.viewpoints import Viewpoint, covered_pixels, intrinsics

_ROOM, _ROOM_HEIGHT = 3.5, 7.0  # half a side and the height of a room, in world units
_LAYERS_OF_LEAVES = 256  # a ray passes so many gaps of cut-out faces before it ends
_USUAL = ViewSurroundings()
Taken: TypeAlias = Callable[[int, RenderedView | None], None]
_FAR_AWAY = 1e9  # Blender says 1e10 where nothing was hit
_REACH = (
    1.6  # pixels from its centre that a pixel takes light from: 1.5 by Cycles' filter, the rest for rounding
)


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
        self._shown: npt.NDArray[np.float64] | None = (
            None  # [V,3] positions of the model, None where all is drawn
        )
        Utility.temp_dir = str(workspace)
        clean_up(clean_up_camera=True)
        RendererUtility.set_render_devices(use_only_cpu=True)
        disable_denoiser()
        Initializer.set_default_parameters()
        RendererUtility.set_cpu_threads(threads)
        RendererUtility.set_noise_threshold(0)  # the same number of samples everywhere
        RendererUtility.set_max_amount_of_samples(samples)
        RendererUtility.set_light_bounces(
            glossy_bounces=2,  # at 0, samples that go for a reflection come back black
            transparent_max_bounces=_LAYERS_OF_LEAVES,
        )
        # Of what is between Blender and us: no format is written and read faster.
        RendererUtility.set_output_format("TARGA_RAW", 8, enable_transparency=True, view_transform="Standard")
        scene = bpy.context.scene
        bpy.context.view_layer.use_pass_z = True
        scene.cycles.sampling_pattern = "AUTOMATIC"  # the default of 5.0 alone is another one
        scene.render.dither_intensity = 0.0
        use_views()
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
        self._materials = KeptMaterials()
        self._bytes = ByteWriter(resolution)
        self._centre_pass = CentrePass(self._outputs) if self._outputs else None
        gc.freeze()  # what the libraries hold stays; looking it through again and again costs 2 ms a model

    def load(self, staged: StagedModel) -> None:
        """Puts a staged model in the place of whatever object is in the scene."""
        _remove_models(self._lighting.picture, self._materials.give_back())
        surface = staged.surface
        self._shown = surface.positions
        maker = MaterialMaker(self._materials, surface.colors is not None, self._outputs)
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
            maker = MaterialMaker(self._materials, False, self._outputs)
            mesh.materials.append(maker.make(Material(name, colour)))
            item = _put(mesh)
            if name == "walls":
                item.visible_shadow = item.visible_diffuse = item.visible_glossy = False

    def render(self, viewpoint: Viewpoint, around: ViewSurroundings = _USUAL) -> RenderedView | None:
        """A view of the object loaded last in its light, None where the camera sees nothing of it."""
        views: list[RenderedView | None] = []
        self.render_each([viewpoint], lambda _, view: views.append(view), [around])
        return views[0]

    def render_each(
        self,
        viewpoints: Sequence[Viewpoint],
        taken: Taken,
        around: Sequence[ViewSurroundings] | None = None,
        going_on: Callable[[], bool] = lambda: True,
    ) -> bool:
        """Calls `taken` with the number and the view of one viewpoint after the other, for less work than `render`.

        A view is None where the camera sees nothing of the object. `going_on` is asked before anything is drawn; where
        it says no, views that are begun are finished, and False is returned. What either raises comes through.
        """
        beside = around or [_USUAL] * len(viewpoints)
        for (fov, light), alike in groupby(
            range(len(viewpoints)), lambda number: (viewpoints[number].fov, beside[number].light)
        ):
            self._lighting.set(light)
            windows = self._aim(fov, {number: viewpoints[number] for number in alike})
            if not (
                going_on() and self._draw(windows, taken, [each.background for each in beside], going_on)
            ):
                return False
        return True

    def _draw(
        self,
        windows: Mapping[int, Window],
        taken: Taken,
        behind: Sequence[npt.NDArray[np.uint8] | None],
        going_on: Callable[[], bool],
    ) -> bool:
        """Draws the frames that have windows, with their pixels `behind`; whether all of them were."""
        last, complete = max(windows), True
        drawn: dict[int, npt.NDArray[np.uint8]] = {}

        def of_picture(frame: int, passes: Passes) -> bool:
            nonlocal complete
            color = self._bytes.picture(passes["Combined"], windows[frame], behind[frame])
            if self._centre_pass:
                drawn[frame] = color
            else:
                taken(frame, self._view(color, passes))
            complete = frame == last or going_on()
            return complete

        def of_centres(frame: int, passes: Passes) -> bool:
            taken(frame, self._view(drawn[frame], passes))
            return True

        draw_views(windows, of_picture)
        if self._centre_pass:
            self._centre_pass.draw({frame: windows[frame] for frame in drawn}, of_centres)
        return complete

    def _view(self, color: npt.NDArray[np.uint8], passes: Passes) -> RenderedView | None:
        depth = _without_gap(passes["Depth"][..., 0])
        outputs = {name: passes[name][..., :3] for name in self._outputs}
        hit = mask = depth < _FAR_AWAY
        if self._ground and PROPERTIES in outputs:
            mask = hit & (outputs[PROPERTIES][..., 2] > 0.5)
        if not mask.any():
            return None
        normals, albedo = outputs.get(NORMALS), outputs.get(ALBEDO)
        return RenderedView(
            color,
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

    def _aim(self, fov: float, viewpoints: Mapping[int, Viewpoint]) -> dict[int, Window]:
        """Sets the camera for frames, all with the field of view; the windows within which to draw them."""
        side, camera = self._resolution, bpy.context.scene.camera
        camera.animation_data_clear()
        CameraUtility.set_intrinsics_from_K_matrix(intrinsics(fov, side), side, side)
        for frame, viewpoint in viewpoints.items():
            pose = viewpoint.cam2world()
            pose[:3] = WORLD_TO_BLENDER @ pose[:3]
            camera.matrix_world = Matrix.Identity(4)  # or the last pose shows through in the last bit
            CameraUtility.add_camera_pose(pose, frame)
            camera.keyframe_insert("scale", frame=frame)  # 1 but for its last bit; BlenderProc has it not
        return {frame: self._window(viewpoint) for frame, viewpoint in viewpoints.items()}

    def _window(self, viewpoint: Viewpoint) -> Window:
        """The pixels around the model: in the others nothing can be seen, and these stay the same to the bit."""
        side = self._resolution
        if self._shown is None:
            return 0, 0, side, side
        left, top, right, bottom = covered_pixels(viewpoint, self._shown, side, _REACH)
        left, top = min(left, side - 1), min(top, side - 1)
        return left, top, max(right, left + 1), max(bottom, top + 1)


def _put(mesh: bpy.types.Mesh) -> bpy.types.Object:
    item = bpy.data.objects.new(mesh.name, mesh)
    item.hide_viewport = True  # which nobody sees: else Blender works out all of the mesh twice
    bpy.context.scene.collection.objects.link(item)
    return item


def _remove_models(kept: bpy.types.Image | None, materials: Sequence[bpy.types.Material]) -> None:
    """Removes every mesh, the materials, and every picture but one: nothing of a model's look is left for the next."""
    data = bpy.data
    pictures = [image for image in data.images if image.source == "FILE" and image != kept]
    shown = [item for item in data.objects if item.type == "MESH"]
    data.batch_remove([*shown, *data.meshes, *materials, *pictures])


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
