"""Colours of glTF files: factors, textures, how these lie, what vertices say, and what cannot be given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from synthetic.layouts.shapenet import BrokenModelError
from synthetic.staging.surface import Material, Texture, merge
from tests.synthetic.staging.glb_writer import CORNER_UV, TRIANGLE, Glb, picture, primitive_of, single

QUARTERS = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 0]]])
FIRST = {"index": 0}


def material_of(
    material: dict[str, Any] | None, folder: Path, **treatment: Any
) -> tuple[Material, dict[str, int]]:
    """How a triangle with this material looks, and the notes; texture 0 is there."""
    glb = single(material=material, TEXCOORD_0=CORNER_UV)
    glb.texture(QUARTERS)
    model = glb.read(folder / "model", **treatment)
    (found,) = model.materials
    return found, dict(model.notes)


def pixels(texture: Texture | None) -> npt.NDArray[Any]:
    assert texture is not None
    with Image.open(texture.path) as image:
        return np.asarray(image)


def test_no_material_is_white_and_matte(tmp_path: Path) -> None:
    found, _ = material_of(None, tmp_path)
    assert (found.color, found.metallic, found.roughness, found.alpha) == ((1, 1, 1), 0, 1, "opaque")


def test_an_empty_material_is_the_format_s_own(tmp_path: Path) -> None:
    found, notes = material_of({}, tmp_path)
    assert (found.color, found.metallic, found.roughness, found.specular) == ((1, 1, 1), 1, 1, 0.5)
    assert (found.opacity, found.alpha, found.cutoff, found.transmission) == (1, "opaque", 0.5, 0)
    assert (found.emission, found.color_texture, notes) == ((0, 0, 0), None, {})


def test_factors(tmp_path: Path) -> None:
    material = {
        "name": "paint",
        "pbrMetallicRoughness": {
            "baseColorFactor": [0.1, 0.2, 1.5, 0.4],
            "metallicFactor": 0.3,
            "roughnessFactor": 0.6,
        },
        "emissiveFactor": [0.5, 0, 1],
        "alphaMode": "BLEND",
        "extensions": {
            "KHR_materials_emissive_strength": {"emissiveStrength": 4},
            "KHR_materials_ior": {"ior": 1.0},
        },
    }
    found, _ = material_of(material, tmp_path)
    assert (found.name, found.color, found.opacity, found.alpha) == ("paint", (0.1, 0.2, 1), 0.4, "blend")
    assert (found.metallic, found.roughness, found.specular, found.emission) == (0.3, 0.6, 0, (2, 0, 4))


def test_mask(tmp_path: Path) -> None:
    found, _ = material_of({"alphaMode": "MASK", "alphaCutoff": 0.2}, tmp_path)
    assert (found.alpha, found.cutoff) == ("mask", 0.2)
    with pytest.raises(BrokenModelError, match="alphaMode"):
        material_of({"alphaMode": "SOLID"}, tmp_path)


def test_textures_and_their_layers(tmp_path: Path) -> None:
    """Textures that lie alike share a layer; v points up; the picture is the file's."""
    other = {"index": 0, "texCoord": 1}
    glb = single(
        material={
            "pbrMetallicRoughness": {"baseColorTexture": other, "metallicRoughnessTexture": FIRST},
            "emissiveTexture": other,
            "emissiveFactor": [1, 1, 1],
        },
        TEXCOORD_0=CORNER_UV,
        TEXCOORD_1=CORNER_UV / 2,
    )
    glb.texture(QUARTERS)
    model = glb.read(tmp_path / "model")
    (found,), (part,) = model.materials, model.parts
    assert found.color_texture is not None
    assert found.metallic_roughness_texture is not None
    assert found.emission_texture is not None
    assert (
        found.color_texture.uv_layer
        == found.emission_texture.uv_layer
        != found.metallic_roughness_texture.uv_layer
    )
    assert len(part.uvs) == 2
    np.testing.assert_array_equal(part.uvs[found.color_texture.uv_layer][0], [[0, 1], [0.5, 1], [0, 0.5]])
    np.testing.assert_array_equal(
        part.uvs[found.metallic_roughness_texture.uv_layer][0], [[0, 1], [1, 1], [0, 0]]
    )
    np.testing.assert_array_equal(pixels(found.color_texture), QUARTERS)


def test_an_emission_of_none_needs_no_texture(tmp_path: Path) -> None:
    found, _ = material_of({"emissiveTexture": FIRST}, tmp_path)
    assert found.emission_texture is None


@pytest.mark.parametrize(
    ("transform", "wanted"),
    [
        # the example of the extension's text: the lower left quadrant, its left upper corner first
        ({"offset": [0, 1], "rotation": np.pi / 2, "scale": [0.5, 0.5]}, [[0, 0], [0, 0.5], [0.5, 0]]),
        ({"offset": [0, 1], "scale": [1, -1]}, [[0, 0], [1, 0], [0, 1]]),
        ({"scale": [2, 3]}, [[0, 1], [2, 1], [0, -2]]),
        ({"offset": [0.25, 0.5], "rotation": np.pi}, [[0.25, 0.5], [-0.75, 0.5], [0.25, 1.5]]),
        # scaled first, then turned counter-clockwise as seen
        ({"rotation": np.pi / 2, "scale": [2, 1]}, [[0, 1], [0, 3], [1, 1]]),
    ],
)
def test_texture_transforms(transform: dict[str, Any], wanted: list[list[float]], tmp_path: Path) -> None:
    glb = single(
        material={
            "pbrMetallicRoughness": {
                "baseColorTexture": {
                    "index": 0,
                    "texCoord": 5,
                    "extensions": {"KHR_texture_transform": transform | {"texCoord": 1}},
                }
            }
        },
        TEXCOORD_1=CORNER_UV,
    )
    glb.texture(QUARTERS)
    (part,) = glb.read(tmp_path / "model").parts
    np.testing.assert_allclose(part.uvs[0][0], wanted, atol=1e-6)


def test_samplers(tmp_path: Path) -> None:
    glb = single(material={"pbrMetallicRoughness": {"baseColorTexture": FIRST}}, TEXCOORD_0=CORNER_UV)
    glb.texture(QUARTERS, sampler=0, source=0)
    glb.add("samplers", wrapS=33071, wrapT=33648, magFilter=9728)
    texture = glb.read(tmp_path / "model").materials[0].color_texture
    assert texture is not None
    assert (texture.wrap, texture.nearest) == (("clamp", "mirror"), True)
    glb.json["samplers"][0] = {"magFilter": 9729}
    texture = glb.read(tmp_path / "model").materials[0].color_texture
    assert texture is not None
    assert (texture.wrap, texture.nearest) == (("repeat", "repeat"), False)


def textured(kind: str = "PNG") -> Glb:
    glb = single(material={"pbrMetallicRoughness": {"baseColorTexture": FIRST}}, TEXCOORD_0=CORNER_UV)
    glb.texture(QUARTERS, kind)
    return glb


@pytest.mark.parametrize(("kind", "name"), [("WEBP", "EXT_texture_webp"), ("DDS", "MSFT_texture_dds")])
def test_pictures_in_other_formats(kind: str, name: str, tmp_path: Path) -> None:
    glb = textured(kind)
    glb.json["textures"][0] = {"extensions": {name: {"source": 0}}}
    glb.json["extensionsRequired"] = [name]
    np.testing.assert_array_equal(pixels(glb.read(tmp_path / "model").materials[0].color_texture), QUARTERS)


def test_ktx2_is_a_colour_that_cannot_be_given(tmp_path: Path) -> None:
    glb = textured()
    glb.json["extensionsRequired"] = ["KHR_texture_basisu"]
    glb.json["textures"][0]["extensions"] = {"KHR_texture_basisu": {"source": 7}}
    assert glb.read(tmp_path / "model").materials[0].color_texture is not None  # there is a PNG beside it
    del glb.json["textures"][0]["source"]
    with pytest.raises(BrokenModelError, match=r"KTX2 file \(KHR_texture_basisu\), .* PNG or JPEG"):
        glb.read(tmp_path / "model")
    model = glb.read(tmp_path / "model", missing_textures="color")
    assert model.materials[0].color_texture is None
    assert sum(model.notes.values()) == 1


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no picture",
        b"\x89PNG\r\n\x1a\n",
        picture(QUARTERS)[:45],
        picture(QUARTERS, "AVIF").replace(b"av01", b"av00"),
    ],
)
def test_garbled_pictures_are_promises_not_kept(content: bytes, tmp_path: Path) -> None:
    glb = textured()
    glb.json["images"][0] = {"bufferView": glb.view(content)}
    with pytest.raises(BrokenModelError, match="a texture of it is missing or unreadable"):
        glb.read(tmp_path / "model")
    model = glb.read(tmp_path / "model", missing_textures="color")
    assert model.notes == {"a texture of it is missing or unreadable": 1}
    assert model.materials[0].color_texture is None


def test_no_picture_starts_a_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PostScript is a picture to Pillow, which has another program run it."""
    started: list[object] = []
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *arguments, **_: started.append(arguments))
    glb = textured()
    content = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n%%EndComments\nshowpage\n"
    glb.json["images"][0] = {"bufferView": glb.view(content)}
    with pytest.raises(BrokenModelError, match="a texture of it is missing or unreadable"):
        glb.read(tmp_path / "model")
    assert not started


def test_coordinates_that_are_missing_are_a_promise_not_kept(tmp_path: Path) -> None:
    """Of one mesh of two that share the material: the other one keeps its texture."""
    glb = textured()
    glb.node(mesh=glb.mesh([{"attributes": {"POSITION": 0}, "material": 0}]))
    with pytest.raises(BrokenModelError, match="TEXCOORD_0, which its mesh does not have"):
        glb.read(tmp_path / "model")
    model = glb.read(tmp_path / "model", missing_textures="color")
    assert [material.color_texture is None for material in model.materials] == [False, True]
    assert [int(part.material[0]) for part in model.parts] == [0, 1]
    assert sum(model.notes.values()) == 1
    glb = textured()
    primitive_of(glb)["attributes"]["TEXCOORD_0"] = glb.accessor(CORNER_UV * np.float32(np.nan))
    with pytest.raises(BrokenModelError, match="its texture coordinates are not finite"):
        glb.read(tmp_path / "model")


COLORS = np.array([[0, 0.2, 1, 0.4], [1, 0.6, 0, 1], [0.8, 0, 0.4, 0]])


@pytest.mark.parametrize("kind", ["f4", "u1", "u2"])
@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("marked", [True, False])
def test_vertex_colours(kind: str, channels: int, marked: bool, tmp_path: Path) -> None:
    """Of all types, as linear light; whole numbers are meant to be scaled even where a writer forgot to say so."""
    most = 1 if kind == "f4" else np.iinfo(kind).max
    stored = (COLORS * most).round(0 if most > 1 else 9).astype(kind)[:, :channels]
    glb = single(material={"pbrMetallicRoughness": {"baseColorFactor": [0.5, 1, 1, 1]}})
    rows = np.pad(stored, ((0, 0), (0, 4 - channels)))
    number = glb.accessor(rows, normalized=marked and kind != "f4")
    glb.json["accessors"][number]["type"] = f"VEC{channels}"
    glb.json["bufferViews"][-1]["byteStride"] = rows.itemsize * 4
    primitive_of(glb)["attributes"]["COLOR_0"] = number
    model = glb.read(tmp_path / "model")
    found = model.parts[0].colors
    assert found is not None
    wanted = COLORS.copy()
    wanted[:, 3] = COLORS[:, 3] if channels == 4 else 1
    np.testing.assert_allclose(found[0], wanted, atol=0.5 / 255)
    assert model.materials[0].color == (0.5, 1, 1)


def test_colours_of_0_to_255_in_floats_are_recognised(tmp_path: Path) -> None:
    glb = single(COLOR_0=(COLORS * 255).round().astype(np.float32))
    model = glb.read(tmp_path / "model")
    np.testing.assert_allclose(model.parts[0].colors, COLORS[None], atol=1e-6)
    assert model.notes == {"vertex colours of 0 to 255 scaled": 1}
    model = single(COLOR_0=(COLORS * 1.5).astype(np.float32)).read(tmp_path / "model")
    np.testing.assert_allclose(model.parts[0].colors, (COLORS * 1.5).clip(0, 1)[None], atol=1e-6)
    assert model.notes == {"vertex colours above 1 cut": 1}


def test_colours_of_one_object_only(tmp_path: Path) -> None:
    glb = single(COLOR_0=COLORS.astype(np.float32), COLOR_1=COLORS.astype(np.float32))
    glb.node(mesh=glb.mesh([{"attributes": {"POSITION": 0}}]))
    model = glb.read(tmp_path / "model")
    surface = merge(model.parts, model.materials)
    np.testing.assert_allclose(surface.colors, [COLORS, np.ones((3, 4))], atol=1e-6)
    assert model.notes == {"further vertex colours ignored": 1}


def test_colours_and_coordinates_that_a_target_moves(tmp_path: Path) -> None:
    glb = textured()
    primitive_of(glb)["attributes"]["COLOR_0"] = glb.accessor(np.full((3, 4), 0.5, np.float32))
    primitive_of(glb)["targets"] = [
        {
            "COLOR_0": glb.accessor(np.array([[0.5, 0, -1, 0]] * 3, np.float32)),
            "TEXCOORD_0": glb.accessor(np.array([[1, 2]] * 3, np.float32)),
        }
    ]
    glb.json["meshes"][0]["weights"] = [0.5]
    (part,) = glb.read(tmp_path / "model").parts
    np.testing.assert_array_equal(part.colors, [[[0.75, 0.5, 0, 0.5]] * 3])
    np.testing.assert_array_equal(part.uvs[0][0], CORNER_UV * [1, -1] + [0.5, 0])


def test_glass(tmp_path: Path) -> None:
    glass = {
        "KHR_materials_transmission": {"transmissionFactor": 0.8},
        "KHR_materials_volume": {"thicknessFactor": 1},
    }
    found, notes = material_of({"extensions": glass}, tmp_path)
    assert (found.transmission, notes) == (0.8, {})
    glass["KHR_materials_transmission"]["transmissionTexture"] = FIRST  # type: ignore[assignment]
    found, _ = material_of({"extensions": glass}, tmp_path)
    assert found.transmission == pytest.approx(0.4)  # half of its pixels have red


def test_unlit_is_drawn_matte(tmp_path: Path) -> None:
    material = {
        "pbrMetallicRoughness": {"baseColorTexture": FIRST},
        "extensions": {"KHR_materials_unlit": {}},
    }
    found, notes = material_of(material, tmp_path)
    assert (found.metallic, found.roughness, found.specular, found.emission) == (0, 1, 0, (0, 0, 0))
    assert found.color_texture is not None
    assert notes == {"unlit materials lit": 1}


@pytest.mark.parametrize(
    ("base", "metallic"),
    [((0.8, 0.3, 0.1), 0.0), ((0.9, 0.6, 0.2), 1.0), ((0.6, 0.6, 0.6), 0.5), ((0.2, 0.2, 0.2), 0.9)],
)
def test_specular_and_glossy_numbers(base: tuple[float, ...], metallic: float, tmp_path: Path) -> None:
    """Made from a known metalness by the definitions of both models, and found again."""
    color = np.array(base)
    specular = 0.04 * (1 - metallic) + color * metallic
    diffuse = color * 0.96 * (1 - metallic) / (1 - specular.max())
    old = {"diffuseFactor": [*diffuse, 0.7], "specularFactor": [*specular], "glossinessFactor": 0.25}
    found, _ = material_of({"extensions": {"KHR_materials_pbrSpecularGlossiness": old}}, tmp_path)
    np.testing.assert_allclose(found.color, base, atol=1e-6)
    assert (found.metallic, found.roughness, found.opacity) == (pytest.approx(metallic, abs=1e-6), 0.75, 0.7)


def test_specular_and_glossy_textures(tmp_path: Path) -> None:
    """A texture of paint and gold, each a flat colour: diffuse in one picture, specular and gloss in the other."""
    paint, gold = np.array([0.6, 0.1, 0.3]), np.array([1.0, 0.7, 0.3])
    diffuse = np.array([[paint * 0.96 / 0.96, gold * 0]])
    specular = np.array([[[0.04] * 3, gold]])
    old = {"diffuseTexture": {"index": 1}, "specularGlossinessTexture": {"index": 2}, "glossinessFactor": 0.5}
    material = {
        "pbrMetallicRoughness": {"baseColorFactor": [1, 0, 0, 1]},  # for who doesn't know the extension
        "extensions": {"KHR_materials_pbrSpecularGlossiness": old},
    }
    glb = single(material=material, TEXCOORD_0=CORNER_UV, TEXCOORD_1=CORNER_UV)
    glb.texture(QUARTERS)
    glb.texture(np.concatenate([encoded(diffuse), [[[255], [51]]]], axis=-1))
    glb.texture(np.concatenate([encoded(specular), [[[255], [102]]]], axis=-1).repeat(3, axis=0))  # larger
    model = glb.read(tmp_path / "model")
    (found,) = model.materials
    assert (found.color, found.metallic, found.roughness, model.notes) == ((1, 1, 1), 1, 1, {})
    base, surface = pixels(found.color_texture), pixels(found.metallic_roughness_texture)
    np.testing.assert_allclose(
        base[1], np.concatenate([encoded(np.array([paint, gold])), [[255], [51]]], axis=1), atol=2
    )
    np.testing.assert_allclose(surface[1, :, 1:], [[128, 0], [204, 255]], atol=3)
    old["specularGlossinessTexture"] = {"index": 2, "texCoord": 1}
    glb.json["materials"][0] = material
    model = glb.read(tmp_path / "model")
    assert model.notes == {"specular-glossiness maps ignored": 1}
    assert pixels(model.materials[0].color_texture).shape == (1, 2, 4)


def encoded(light: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """sRGB bytes of linear light."""
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055) * 255


def test_what_is_ignored_is_counted(tmp_path: Path) -> None:
    material = {
        "normalTexture": FIRST,
        "occlusionTexture": FIRST,
        "extensions": {"KHR_materials_clearcoat": {"clearcoatFactor": 1}},
    }
    _, notes = material_of(material, tmp_path)
    assert notes == {
        "normal maps ignored": 1,
        "occlusion maps ignored": 1,
        "KHR_materials_clearcoat ignored": 1,
    }


def test_a_look_in_an_unknown_form_is_a_promise_not_kept(tmp_path: Path) -> None:
    material = {"extensions": {"KHR_materials_common": {"values": {"diffuse": [1, 0, 0, 1]}}}}
    with pytest.raises(BrokenModelError, match="colours in KHR_materials_common alone"):
        material_of(material, tmp_path)
    assert (
        sum(material_of(material, tmp_path, missing_textures="color")[1].values()) == 2
    )  # and it is ignored


def test_variants_are_those_of_the_file_s_own_choice(tmp_path: Path) -> None:
    glb = single(TRIANGLE, {})
    glb.json["extensions"] = {"KHR_materials_variants": {"variants": [{"name": "a"}, {"name": "b"}]}}
    assert glb.read(tmp_path / "model").notes == {"material variants ignored": 2}
