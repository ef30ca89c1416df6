"""`python -m tests.synthetic.blender.node_scenes FOLDER`: scenes with node materials, as pictures and baked.

FOLDER/baked holds, by name of the scene, the surface that was baked and, where Cycles drew the scene before, its
positions and its diffuse colours (a pass of Cycles' own) at the pixels' centres.
"""

from __future__ import annotations

import math
import pickle
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import bpy
import numpy as np

from synthetic.blender import baking
from synthetic.workers.blender_process import LeaveWithoutDestructors, prepare_blender

SIDE = 512  # of textures
HALF, SQUARES = 0.45, 4.0  # of the cube with squares, and how many lie in a unit of its own coordinates
MOST = {"fine": 3000, "crowded": 400}  # faces that are to be left


def material(build: Callable[[bpy.types.NodeTree], bpy.types.NodeSocket]) -> bpy.types.Material:
    made = bpy.data.materials.new("m")
    made.use_nodes = True
    made.node_tree.nodes.clear()
    output = made.node_tree.nodes.new("ShaderNodeOutputMaterial")
    made.node_tree.links.new(build(made.node_tree), output.inputs["Surface"])
    return made


def cube(made: bpy.types.Material | None, half: float = HALF) -> bpy.types.Object:
    bpy.ops.mesh.primitive_cube_add(size=2 * half)
    found = bpy.context.object
    if made is not None:
        found.data.materials.append(made)
    return found


def squares(tree: bpy.types.NodeTree, by: str = "Object") -> bpy.types.Node:
    place, checker = tree.nodes.new("ShaderNodeTexCoord"), tree.nodes.new("ShaderNodeTexChecker")
    tree.links.new(place.outputs[by], checker.inputs["Vector"])
    checker.inputs["Color1"].default_value = (0.8, 0.1, 0.05, 1)
    checker.inputs["Color2"].default_value = (0.02, 0.3, 0.6, 1)
    checker.inputs["Scale"].default_value = SQUARES
    return checker


def shader(tree: bpy.types.NodeTree, kind: str, **inputs: object) -> bpy.types.Node:
    made = tree.nodes.new(f"ShaderNode{kind}")
    for name, value in inputs.items():
        made.inputs[name.replace("_", " ")].default_value = value
    return made


def checkered() -> list[bpy.types.Object]:
    """A cube that is turned, moved and stretched; its squares go by its own coordinates."""

    def build(tree: bpy.types.NodeTree) -> bpy.types.NodeSocket:
        matte = shader(tree, "BsdfDiffuse")
        tree.links.new(squares(tree).outputs["Color"], matte.inputs["Color"])
        return matte.outputs["BSDF"]

    found = cube(material(build))
    found.location, found.scale = (3, -2, 1), (1, 1.5, 0.5)
    found.rotation_euler = (0.3, 0.2, 0.9)
    return [found]


def pictured() -> list[bpy.types.Object]:
    """A plane with squares by the texture coordinates that it brings along."""

    def build(tree: bpy.types.NodeTree) -> bpy.types.NodeSocket:
        matte = shader(tree, "BsdfDiffuse")
        tree.links.new(squares(tree, "UV").outputs["Color"], matte.inputs["Color"])
        return matte.outputs["BSDF"]

    bpy.ops.mesh.primitive_plane_add(size=1)
    found = bpy.context.object
    found.data.materials.append(material(build))
    return [found]


def mixed() -> list[bpy.types.Object]:
    """A ball with noise of two sizes, mixed within a group, and the group with red."""
    group = bpy.data.node_groups.new("g", "ShaderNodeTree")
    group.interface.new_socket("Shader", in_out="OUTPUT", socket_type="NodeSocketShader")
    noise, matte = group.nodes.new("ShaderNodeTexNoise"), shader(group, "BsdfDiffuse")
    noise.inputs["Scale"].default_value = 3.0
    place = group.nodes.new("ShaderNodeTexCoord")
    group.links.new(place.outputs["Generated"], noise.inputs["Vector"])
    group.links.new(noise.outputs["Color"], matte.inputs["Color"])
    end = group.nodes.new("NodeGroupOutput")
    group.links.new(matte.outputs["BSDF"], end.inputs["Shader"])

    def build(tree: bpy.types.NodeTree) -> bpy.types.NodeSocket:
        inner = tree.nodes.new("ShaderNodeGroup")
        inner.node_tree = group
        mix, waves = tree.nodes.new("ShaderNodeMixShader"), tree.nodes.new("ShaderNodeTexWave")
        waves.inputs["Scale"].default_value = 1.5
        red = shader(tree, "BsdfDiffuse", Color=(0.7, 0.05, 0.0, 1))
        tree.links.new(waves.outputs["Fac"], mix.inputs["Fac"])
        tree.links.new(inner.outputs["Shader"], mix.inputs[1])
        tree.links.new(red.outputs["BSDF"], mix.inputs[2])
        return mix.outputs["Shader"]

    bpy.ops.mesh.primitive_uv_sphere_add(radius=0.6, segments=64, ring_count=32)
    found = bpy.context.object
    found.data.materials.append(material(build))
    found.data.polygons.foreach_set("use_smooth", [True] * len(found.data.polygons))
    return [found]


def looks() -> list[bpy.types.Object]:
    """Five cubes: rough metal, glass, what glows, no material, and half of each square cut away."""

    def holed(tree: bpy.types.NodeTree) -> bpy.types.NodeSocket:
        mix, clear = tree.nodes.new("ShaderNodeMixShader"), tree.nodes.new("ShaderNodeBsdfTransparent")
        matte = shader(tree, "BsdfDiffuse", Color=(0.1, 0.5, 0.2, 1))
        checker = squares(tree)
        checker.inputs["Color1"].default_value, checker.inputs["Color2"].default_value = (1,) * 4, (0,) * 4
        tree.links.new(checker.outputs["Fac"], mix.inputs["Fac"])
        tree.links.new(clear.outputs["BSDF"], mix.inputs[1])
        tree.links.new(matte.outputs["BSDF"], mix.inputs[2])
        return mix.outputs["Shader"]

    plain = {
        "metal": {"Base_Color": (0.6, 0.3, 0.1, 1), "Metallic": 1.0, "Roughness": 0.3},
        "glass": {"Base_Color": (0.1, 0.9, 0.1, 1), "Transmission_Weight": 1.0, "Roughness": 0.0},
        "glow": {"Base_Color": (0, 0, 0, 1), "Emission_Color": (0.9, 0.8, 0.1, 1), "Emission_Strength": 5.0},
    }
    found = []
    for number, inputs in enumerate(plain.values()):
        made = material(lambda tree, inputs=inputs: shader(tree, "BsdfPrincipled", **inputs).outputs["BSDF"])  # type: ignore[misc]
        found.append(cube(made))
        found[-1].location = (2 * number, 0, 0)
    for number, made in enumerate((None, material(holed)), 3):
        found.append(cube(made))
        found[-1].location = (2 * number, 0, 0)
    return found


def family() -> list[bpy.types.Object]:
    """A row of three instances below an empty, a mirrored child of two by a modifier, and one that is not rendered."""
    tree = bpy.data.node_groups.new("row", "GeometryNodeTree")
    tree.interface.new_socket("Geometry", in_out="OUTPUT", socket_type="NodeSocketGeometry")
    line, box = tree.nodes.new("GeometryNodeMeshLine"), tree.nodes.new("GeometryNodeMeshCube")
    put, end = tree.nodes.new("GeometryNodeInstanceOnPoints"), tree.nodes.new("NodeGroupOutput")
    line.inputs["Count"].default_value, line.inputs["Offset"].default_value = 3, (2, 0, 0)
    tree.links.new(line.outputs["Mesh"], put.inputs["Points"])
    tree.links.new(box.outputs["Mesh"], put.inputs["Instance"])
    tree.links.new(put.outputs["Instances"], end.inputs["Geometry"])
    bpy.ops.object.empty_add()
    root = bpy.context.object
    row = cube(None)
    row.modifiers.new("row", "NODES").node_group = tree
    twins = cube(None, 0.5)
    twins.scale, twins.location = (-1, 1, 1), (0, 3, 0)
    array = twins.modifiers.new("array", "ARRAY")
    array.use_relative_offset, array.use_constant_offset = False, True
    array.count, array.constant_offset_displace = 2, (0, 2, 0)
    hidden = cube(None, 0.5)
    hidden.hide_render, hidden.location = True, (9, 9, 9)
    stranger = cube(None, 0.5)
    stranger.location = (-9, -9, -9)
    for child in (row, twins, hidden):
        child.parent = root
    return [root]


def fine() -> list[bpy.types.Object]:
    """A ball, metal above and matte below."""
    bpy.ops.mesh.primitive_ico_sphere_add(radius=1, subdivisions=6)
    found = bpy.context.object
    for metal in (0.0, 1.0):
        found.data.materials.append(
            material(lambda tree, metal=metal: shader(tree, "BsdfPrincipled", Metallic=metal).outputs["BSDF"])  # type: ignore[misc]
        )
    for face in found.data.polygons:
        face.material_index = int(face.center.z > 0)
    return [found]


def crowded() -> list[bpy.types.Object]:
    """A ball of one mesh with 300 tetrahedra beyond x = 9, of which hardly anything can be collapsed."""
    bpy.ops.mesh.primitive_ico_sphere_add(radius=1, subdivisions=4)
    ball = bpy.context.object.data
    places = [tuple(vertex.co) for vertex in ball.vertices]
    faces = [tuple(face.vertices) for face in ball.polygons]
    for number in range(300):
        first, x, y = len(places), 10 + number // 50, number % 50
        places += [(x, y, 0), (x + 0.5, y, 0), (x, y + 0.5, 0), (x, y, 0.5)]
        faces += [
            (first + a, first + b, first + c) for a, b, c in ((0, 2, 1), (0, 1, 3), (1, 2, 3), (2, 0, 3))
        ]
    mesh = bpy.data.meshes.new("crowded")
    mesh.from_pydata(places, [], faces)
    mesh.materials.append(material(lambda tree: shader(tree, "BsdfPrincipled").outputs["BSDF"]))
    found = bpy.context.object
    found.data = mesh
    return [found]


def passes(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """[N,3] positions in Blender's world and [N,3] diffuse colours at the pixels' centres, as Cycles draws them."""
    from synthetic.blender.views import draw_views, use_views

    scene, layer = bpy.context.scene, bpy.context.view_layer
    use_views()
    scene.cycles.samples = 1
    scene.cycles.use_denoising, scene.cycles.filter_width = False, 0.01
    scene.render.resolution_x = scene.render.resolution_y = 200
    camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    camera.location, camera.rotation_euler = (0, -3, 0), (math.pi / 2, 0, 0)
    scene.collection.objects.link(camera)
    scene.camera = camera
    layer.use_pass_position = layer.use_pass_diffuse_color = True
    found = {}

    def taken(_: int, passes: Mapping[str, np.ndarray]) -> bool:
        found.update(passes)
        return True

    draw_views({0: (0, 0, 200, 200)}, taken)
    at, color = found["Position"].astype(float), found["DiffCol"].astype(float)
    hit = np.abs(at).sum(axis=-1) > 0
    return at[hit], color[hit]


def main() -> None:
    folder = Path(sys.argv[1])
    prepare_blender(folder)
    found = {}
    for build in (checkered, pictured, mixed, looks, family, fine, crowded):
        name = build.__name__
        bpy.ops.wm.read_factory_settings(use_empty=True)
        (folder / name).mkdir()
        roots = build()
        bpy.context.view_layer.update()
        drawn = passes(folder / name) if name == "mixed" else None
        parts = baking.parts_of(roots)
        if name in MOST:
            baking.decimate(parts, MOST[name])
        front = np.array([1.0, 0, 0] if name == "checkered" else [0, -1.0, 0])
        found[name] = baking.bake(parts, folder / name, SIDE, front), drawn
    (folder / "baked").write_bytes(pickle.dumps(found))


if __name__ == "__main__":
    with LeaveWithoutDestructors():
        main()
