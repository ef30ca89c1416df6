"""Objects of the scene: mesh, material, placement and recipe of each. The only module that makes objects."""

from __future__ import annotations

import json

import bpy
import numpy as np
import numpy.typing as npt

from ..mesh_bundle import Bundle, Placement, mean_color, polygons
from ..recipe import BuildOptions, Recipe, number, parse_recipe, subject

RECIPE = "gp3d"  # custom property with everything that made the object, as JSON
COLLECTION = "GP3D"
_MAIN = ("model", "model_sha256", "picture", "class", "seed", "truncation")  # custom properties gp3d_…
_TURNS = {
    "NEG_Y": 0.0,
    "POS_X": 1.0,
    "POS_Y": 2.0,
    "NEG_X": -1.0,
}  # quarter turns about z that take the front there


def build_mesh(bundle: Bundle, name: str, options: BuildOptions, place: Placement) -> bpy.types.Mesh:
    """A mesh in its `place` with its texture coordinates or colours and a material that shows them."""
    mesh = build_shape(bundle, name, place, options["smooth"])
    mesh.materials.append(material_of(bundle, name, options))
    return mesh


def build_shape(bundle: Bundle, name: str, place: Placement, smooth: bool = False) -> bpy.types.Mesh:
    """A mesh in its `place` without a material."""
    mesh, made = bpy.data.meshes.new(name), polygons(bundle)
    mesh.vertices.add(len(bundle.vertices))
    mesh.vertices.foreach_set("co", place(bundle.vertices).reshape(-1))
    mesh.loops.add(len(made.corners))
    mesh.loops.foreach_set("vertex_index", bundle.faces.reshape(-1)[made.corners])
    mesh.polygons.add(len(made.starts))
    mesh.polygons.foreach_set("loop_start", made.starts)
    if bpy.app.version < (4, 1):
        mesh.polygons.foreach_set("loop_total", made.counts)
    mesh.polygons.foreach_set("use_smooth", np.full(len(made.starts), bool(smooth)))
    if bundle.slots is not None:
        mesh.polygons.foreach_set("material_index", bundle.slots[made.corners[made.starts] // 3])
    if bundle.uv is not None:
        uv = bundle.uv[made.corners]
        mesh.uv_layers.new(name="UVMap").data.foreach_set("uv", uv.reshape(-1))
    if bundle.colors is not None:
        _add_colors(mesh, bundle.colors)
    mesh.update(calc_edges=True)
    mesh.validate()
    return mesh


def _add_colors(mesh: bpy.types.Mesh, colors: npt.NDArray[np.uint8]) -> None:
    attribute = mesh.color_attributes.new("Color", "BYTE_COLOR", "POINT")
    values = np.ones((len(colors), 4), np.float32)
    values[:, :3] = colors / np.float32(255)
    attribute.data.foreach_set("color_srgb", values.reshape(-1))
    mesh.color_attributes.active_color_index = 0
    mesh.color_attributes.render_color_index = 0


def material_of(bundle: Bundle, name: str, options: BuildOptions) -> bpy.types.Material:
    """A material whose base colour (or, unlit, whose light) is the texture or the colour attribute."""
    average = mean_color(bundle)
    if bundle.texture is not None and bundle.uv is not None:
        return image_material(_image(bundle.texture, name), average, name, options)
    material, shader, target = _plain_material(average, name, options)
    if bundle.colors is not None:
        color = material.node_tree.nodes.new("ShaderNodeVertexColor")
        color.layer_name = "Color"
        _feed(material, color, shader, target)
    else:
        target.default_value = (*average, 1.0)
    return material


def image_material(
    image: bpy.types.Image, average: tuple[float, float, float], name: str, options: BuildOptions
) -> bpy.types.Material:
    """A material whose base colour (or, unlit, whose light) is an image of that mean colour."""
    material, shader, target = _plain_material(average, name, options)
    color = material.node_tree.nodes.new("ShaderNodeTexImage")
    color.image = image
    _feed(material, color, shader, target)
    return material


def _plain_material(
    average: tuple[float, float, float], name: str, options: BuildOptions
) -> tuple[bpy.types.Material, bpy.types.Node, bpy.types.NodeSocket]:
    """A material, its shader, and the socket that takes its colour."""
    material = bpy.data.materials.new(name)
    if bpy.app.version < (5, 0):  # later every material has nodes, and setting this is deprecated
        material.use_nodes = True
    nodes, links = material.node_tree.nodes, material.node_tree.links
    nodes.clear()
    output = nodes.new("ShaderNodeOutputMaterial")
    unlit = options["shader"] == "UNLIT"
    shader = nodes.new("ShaderNodeEmission" if unlit else "ShaderNodeBsdfPrincipled")
    links.new(shader.outputs[0], output.inputs["Surface"])
    if not unlit:
        shader.inputs["Roughness"].default_value = options["roughness"]
    shader.location, output.location = (-300, 0), (0, 0)
    material.diffuse_color = (*average, 1.0)  # solid viewports show this one
    material.roughness = options["roughness"]
    return material, shader, shader.inputs["Color" if unlit else "Base Color"]


def _feed(
    material: bpy.types.Material, color: bpy.types.Node, shader: bpy.types.Node, target: bpy.types.NodeSocket
) -> None:
    """Lets the node `color` give the shader's colour."""
    material.node_tree.links.new(color.outputs["Color"], target)
    color.location = (shader.location[0] - 300, 0)


def _image(texture: npt.NDArray[np.uint8], name: str) -> bpy.types.Image:
    """A packed sRGB image; Blender's first row is the lowest one."""
    height, width = texture.shape[:2]
    image = bpy.data.images.new(name, width, height, alpha=False)
    pixels = np.ones((height, width, 4), np.float32)
    pixels[..., :3] = texture[::-1, :, :3] / np.float32(255)
    image.pixels.foreach_set(pixels.reshape(-1))
    image.update()
    image.pack()
    return image


def viewer(context: bpy.types.Context) -> tuple[float, float] | None:
    """The direction x, y from the scene to whoever looks at this 3D viewport; None where there is none."""
    view = getattr(context.space_data, "region_3d", None)
    if view is None:
        return None
    back = view.view_rotation.to_matrix().col[2]
    return float(back.x), float(back.y)


def add_object(
    context: bpy.types.Context, mesh: bpy.types.Mesh, name: str, options: BuildOptions
) -> bpy.types.Object:
    """A new object of `mesh` where `options` say, selected and active."""
    obj = bpy.data.objects.new(name, mesh)
    obj.location = options["location"]
    obj.rotation_euler = (0.0, 0.0, _TURNS[options["front"]] * np.pi / 2)
    _collection(context, options["collection"]).objects.link(obj)
    if context.mode != "OBJECT":
        return obj
    for other in context.view_layer.objects.selected:
        other.select_set(False)
    if obj.name in context.view_layer.objects:
        obj.select_set(True)
        context.view_layer.objects.active = obj
    return obj


def _collection(context: bpy.types.Context, own: bool) -> bpy.types.Collection:
    """The active collection, or a collection of ours in the scene."""
    if not own:
        return context.view_layer.active_layer_collection.collection
    root = context.scene.collection
    found = root.children.get(COLLECTION)
    if found is None:
        found = bpy.data.collections.new(COLLECTION)
        root.children.link(found)
    return found


def replace_mesh(obj: bpy.types.Object, mesh: bpy.types.Mesh) -> None:
    """Gives `obj` another mesh and removes what nobody uses any more."""
    old, name = obj.data, obj.data.name
    obj.data = mesh
    if remove_mesh(old):
        mesh.name = name


def remove_mesh(mesh: bpy.types.Mesh) -> bool:
    """Removes a mesh that nobody uses, and materials and pictures that nobody else does; whether it is gone."""
    materials, unused = [material for material in mesh.materials if material], not mesh.users
    if unused:
        bpy.data.meshes.remove(mesh)
    for material in materials:
        images = [node.image for node in material.node_tree.nodes if node.type == "TEX_IMAGE" and node.image]
        if material.users == 0:
            bpy.data.materials.remove(material)
        for image in images:
            if image.users == 0:
                bpy.data.images.remove(image)
    return unused


def write_recipe(obj: bpy.types.Object, recipe: Recipe) -> None:
    """Keeps `recipe` on the object: whole, and its main points where a person reads them.

    Those of a picture are its name, and the name and hash of the image model: it has no class, seed or truncation.
    """
    obj[RECIPE] = json.dumps(recipe, sort_keys=True)
    made, model = recipe.get("recipe", {}), recipe.get("model", {})
    main: dict[str, str | float] = {"model": str(model.get("name", ""))}
    if "picture" in made:
        main |= {"picture": str(made["picture"]), "model_sha256": str(model.get("sha256", ""))}
    else:
        main |= {"class": subject(made), "seed": str(made.get("seed", ""))}
        main["truncation"] = number(made.get("truncation"))
    for name in _MAIN:
        obj.pop(f"gp3d_{name}", None)
    for name, value in main.items():
        obj[f"gp3d_{name}"] = value


def units_of_a_metre(context: bpy.types.Context) -> float:
    """How many units a metre has in the scene, which may count in centimetres; 1 where it has no units."""
    units = context.scene.unit_settings
    return 1.0 if units.system == "NONE" else 1 / float(units.scale_length)


def read_recipe(obj: bpy.types.Object | None) -> Recipe | None:
    """The recipe of an object of ours, else None."""
    return parse_recipe(str(obj.get(RECIPE, ""))) if obj is not None else None
