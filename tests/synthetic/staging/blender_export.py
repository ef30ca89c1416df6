"""GLB files as Blender writes them, beside what it shows itself: run with a folder and the numbers of scenes.

Each scene has a tube that bones bend, one that shape keys change, mirrored, and a mirrored child of it.
"""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

import bpy
import numpy as np
from mathutils import Euler, Vector


def tube() -> bpy.types.Object:
    """A cylinder of triangles, so that nobody has to cut a bent quad the same way."""
    bpy.ops.mesh.primitive_cylinder_add(vertices=12, radius=0.3, depth=2, location=(0, 0, 1))
    bpy.ops.object.transform_apply(location=True)
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.mesh.select_all(action="SELECT")
    bpy.ops.mesh.subdivide(number_cuts=3)
    bpy.ops.mesh.quads_convert_to_tris()
    bpy.ops.object.mode_set(mode="OBJECT")
    return bpy.context.object


def rig(rng: random.Random) -> None:
    bpy.ops.object.armature_add()
    armature = bpy.context.object
    bpy.ops.object.mode_set(mode="EDIT")
    bone = armature.data.edit_bones[0]
    bone.head, bone.tail = (0, 0, 0), (0, 0.1, 0.5)
    for number in range(1, 4):
        following = armature.data.edit_bones.new(f"bone{number}")
        following.head, following.tail = bone.tail, (0, 0.1 * (number % 2), 0.5 * (number + 1))
        following.parent = bone
        bone = following
    bpy.ops.object.mode_set(mode="OBJECT")
    tube().select_set(True)
    armature.select_set(True)
    bpy.context.view_layer.objects.active = armature
    bpy.ops.object.parent_set(type="ARMATURE_AUTO")
    for posed in armature.pose.bones:
        posed.rotation_mode = "QUATERNION"
        posed.rotation_quaternion = Euler([rng.uniform(-0.6, 0.6) for _ in range(3)]).to_quaternion()
        posed.scale = [rng.uniform(0.8, 1.2)] * 3
    armature.location, armature.rotation_euler, armature.scale = (1, 2, 0.5), (0.3, 0.2, 1), (0.9,) * 3


def keyed(rng: random.Random) -> None:
    changed = tube()
    changed.shape_key_add()
    for value in (0.7, 0.4):
        key = changed.shape_key_add()
        for point in key.data:
            point.co += Vector((rng.uniform(-0.1, 0.1), point.co.z * (value - 0.5), 0))
        key.value = value
    changed.location, changed.scale, changed.rotation_euler = (-2, 0, 0), (-1, 1.3, 0.7), (0.1, 0.9, 2)
    child = tube()
    child.parent, child.location, child.scale = changed, (0, 2, 1), (1, 1, -1)


def shown() -> tuple[np.ndarray, np.ndarray]:
    """All triangles [F,3,3] with y up, and their uvs [F,3,2]."""
    graph, triangles, uvs = bpy.context.evaluated_depsgraph_get(), [], []
    for item in bpy.context.scene.objects:
        if item.type != "MESH":
            continue
        evaluated = item.evaluated_get(graph)
        mesh, matrix = evaluated.to_mesh(), np.array(evaluated.matrix_world)
        mesh.calc_loop_triangles()
        points = np.array([vertex.co for vertex in mesh.vertices]) @ matrix[:3, :3].T + matrix[:3, 3]
        corners = np.array([triangle.vertices for triangle in mesh.loop_triangles])
        loops = np.array([triangle.loops for triangle in mesh.loop_triangles])
        order = slice(None, None, -1 if np.linalg.det(matrix[:3, :3]) < 0 else 1)
        triangles.append(points[corners[:, order]])
        uvs.append(np.array([loop.uv for loop in mesh.uv_layers[0].data])[loops[:, order]])
    z_up = np.concatenate(triangles)
    return np.stack([z_up[..., 0], z_up[..., 2], -z_up[..., 1]], axis=-1), np.concatenate(uvs)


def main(folder: Path, seeds: list[int]) -> None:
    for seed in seeds:
        rng = random.Random(seed)
        bpy.ops.wm.read_factory_settings(use_empty=True)
        rig(rng)
        keyed(rng)
        material = bpy.data.materials.new("m")
        material.use_nodes = True
        picture = material.node_tree.nodes.new("ShaderNodeTexImage")
        picture.image = bpy.data.images.new("picture", 4, 4)
        material.node_tree.links.new(
            picture.outputs["Color"], material.node_tree.nodes["Principled BSDF"].inputs["Base Color"]
        )
        for item in bpy.context.scene.objects:
            if item.type == "MESH":
                item.data.materials.append(material)
        bpy.context.view_layer.update()
        bpy.ops.export_scene.gltf(
            filepath=str(folder / f"{seed}.glb"),
            export_rest_position_armature=False,
            export_animations=False,
        )
        triangles, uvs = shown()
        np.savez(folder / f"{seed}.npz", triangles=triangles, uvs=uvs)


if __name__ == "__main__":
    main(Path(sys.argv[1]), [int(word) for word in sys.argv[2:]])
    sys.stdout.flush()
    os._exit(0)  # Blender as a module may crash while it leaves
