"""The light of a scene: a uniform sky with or without a sun, or an environment map."""

from __future__ import annotations

import math

import bpy
from mathutils import Vector

from synthetic.blender.blenderproc_parts import Light as BlenderLight
from synthetic.blender.blenderproc_parts import RendererUtility
from synthetic.blender.mesh import WORLD_TO_BLENDER
from synthetic.surroundings.draws import Light
from synthetic.surroundings.settings import MEAN_RADIANCE, SKY, SUN

_SUN_FROM = (-0.55, 0.75, 0.6)  # left, above and in front of the object, in our world frame
_IMPORTANCE = (
    512  # columns of the table by which a map is sampled: at 1024 a small picture takes twice as long
)
_SUN_ANGLE = math.radians(12.0)  # soft enough to hide the edge of shadows in small pictures


class Lighting:
    """The lights of the scene, one kind of which is lit; at first those of "paper"."""

    def __init__(self) -> None:
        RendererUtility.set_world_background([1.0, 1.0, 1.0], SKY)
        sun = BlenderLight("SUN", name="sun")
        sun.set_energy(SUN)
        sun.blender_obj.data.angle = _SUN_ANGLE
        sun.set_rotation_euler(Vector(WORLD_TO_BLENDER @ _SUN_FROM).to_track_quat("Z", "Y").to_euler())
        self._sun = sun.blender_obj
        self._lit = Light()
        self.picture: bpy.types.Image | None = None  # of the map that is lit

    def set(self, light: Light) -> None:
        """Lights the scene otherwise; nothing is done where it is lit so already."""
        if light == self._lit:
            return
        self._lit = light
        tree = bpy.context.scene.world.node_tree
        background = next(node for node in tree.nodes if node.type == "BACKGROUND")
        for node in [node for node in tree.nodes if node.type in ("TEX_ENVIRONMENT", "MAPPING", "TEX_COORD")]:
            tree.nodes.remove(node)
        self._sun.hide_render = light.kind != "paper"
        uniform = SKY if light.kind == "paper" else MEAN_RADIANCE
        background.inputs["Strength"].default_value = light.strength if light.kind == "hdri" else uniform
        cycles = bpy.context.scene.world.cycles
        cycles.sampling_method = "AUTOMATIC" if light.world is None else "MANUAL"
        cycles.sample_map_resolution = _IMPORTANCE
        if light.world is None:
            self._forget()
            return
        if self.picture is None or self.picture.filepath != str(light.world):
            self._forget()
            self.picture = bpy.data.images.load(str(light.world))
            self.picture.colorspace_settings.name = "Non-Color"  # linear as it is
        turned, place = tree.nodes.new("ShaderNodeMapping"), tree.nodes.new("ShaderNodeTexCoord")
        # The middle of a map is +x for Blender, which is a quarter of a turn from our front.
        turned.inputs["Rotation"].default_value = (0.0, 0.0, light.rotation + math.pi / 2)
        texture = tree.nodes.new("ShaderNodeTexEnvironment")
        texture.image = self.picture
        tree.links.new(place.outputs["Generated"], turned.inputs["Vector"])
        tree.links.new(turned.outputs["Vector"], texture.inputs["Vector"])
        tree.links.new(texture.outputs["Color"], background.inputs["Color"])

    def _forget(self) -> None:
        if self.picture is not None:
            bpy.data.images.remove(self.picture)
            self.picture = None
