"""What a library's writer writes is what GP3D reads back: shapes, coordinates, colours, materials."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from synthetic.layouts.licences import Credit
from synthetic.layouts.shapenet import ObjectClass, Placement
from synthetic.library.models import LibraryJob, LibraryModel
from synthetic.library.placing import placed
from synthetic.library.writing import write_model
from synthetic.staging.alpha import settle_alpha
from synthetic.staging.files import ModelFiles
from synthetic.staging.sampling import SurfaceColors
from synthetic.staging.stage import read_surface, stage_model
from synthetic.staging.surface import Material, Surface, Texture
from synthetic.staging.treatment import ModelLimits, Treatment
from tests.synthetic.library.same_look import corners, differences
from tests.synthetic.small_library import REAL_MODELS, REPOSITORY

CLASS = ObjectClass("n03797390", "mug", None, "03797390")
CREDIT = Credit("somebody", "CC0-1.0", "somewhere", "none")
TRIANGLES = 40
ROUNDED = 0.012  # linear light of white that is a byte brighter, with some room


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "workspace"
    folder.mkdir()
    return folder


def picture(folder: Path, name: str, mode: str, size: tuple[int, int] = (6, 4), seed: int = 0) -> Path:
    channels = len(mode)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], channels), np.uint8)
    path = folder / f"{name}.png"
    Image.fromarray(pixels[..., 0] if channels == 1 else pixels).save(path)
    return path


def surface(*materials: Material, colors: bool = False, smooth: bool = False, spread: float = 2.0) -> Surface:
    """Triangles that lie apart, each of one of the materials, with two layers of coordinates in [-spread, spread]."""
    generator = np.random.default_rng(7)
    places = generator.random((TRIANGLES, 1, 3)) * 8
    positions = (places + generator.random((TRIANGLES, 3, 3))).reshape(-1, 3)
    triangles = np.arange(3 * TRIANGLES).reshape(-1, 3)
    uvs = tuple(generator.uniform(-spread, spread, (TRIANGLES, 3, 2)).astype(np.float32) for _ in range(2))
    normals = generator.normal(size=(TRIANGLES, 3, 3)).astype(np.float32)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    return Surface(
        positions,
        triangles,
        np.arange(TRIANGLES, dtype=np.int32) % len(materials),
        materials,
        np.arange(TRIANGLES, dtype=np.int32) // 10,
        uvs,
        generator.random((TRIANGLES, 3, 4)).astype(np.float32) if colors else None,
        normals if smooth else None,
    )


def written(
    made: Surface, tmp_path: Path, treatment: Treatment | None = None
) -> tuple[Surface, Counter[str]]:
    """The surface as it is read back from its files, and what the writer says that they lack."""
    job = LibraryJob("model", CLASS, lambda _: LibraryModel(made, CREDIT))
    folder = tmp_path / "library" / "model"
    record, notes = write_model(folder, job, LibraryModel(made, CREDIT))
    assert record["notes"] == dict(notes)
    staged = stage_model(
        folder / "models/model_normalized.obj",
        folder,
        tmp_path / "read",
        ModelLimits(),
        treatment or Treatment(),
    )
    low, high = staged.surface.positions.min(axis=0), staged.surface.positions.max(axis=0)
    if len(staged.surface) == len(made):
        np.testing.assert_allclose(low + high, 0, atol=1e-7)
        assert np.linalg.norm(high - low) == pytest.approx(1, abs=1e-7)
    return staged.surface, notes


def assert_same(made: Surface, tmp_path: Path, color: float = 1e-5) -> Surface:
    read, notes = written(made, tmp_path)
    assert not notes
    assert differences(settle_alpha(made, Treatment(), Counter()), read, color) == []
    return read


def test_plain_materials(tmp_path: Path) -> None:
    """Colour, gloss, metal, emission and names; parts stay parts and triangles keep their order."""
    made = surface(
        Material("red paint", (0.8, 0.1, 0.05), roughness=0.3, specular=0.5),
        Material("", (0.2, 0.25, 0.3), metallic=1.0, roughness=0.15),
        Material("red paint", (0.01, 0.5, 0.02), emission=(3.0, 0.5, 0.0)),
        smooth=True,
    )
    read = assert_same(made, tmp_path)
    assert [material.name for material in read.materials] == ["red_paint", "material", "red_paint-2"]
    np.testing.assert_array_equal(read.part, made.part)
    first = np.abs(corners(made) - corners(read)).max(axis=(1, 2))
    assert first.max() < 2e-8


def test_texture_coordinates_are_exact(tmp_path: Path, workspace: Path) -> None:
    made = surface(Material("m", (1, 1, 1), Texture(picture(workspace, "a", "RGB"))))
    read = assert_same(made, tmp_path)
    np.testing.assert_array_equal(read.uvs[0], made.uvs[0])


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA"])
@pytest.mark.parametrize(
    "wrap", [(a, b) for a in ("repeat", "clamp", "mirror") for b in ("repeat", "clamp", "mirror")]
)
def test_every_wrap(wrap: tuple[str, str], mode: str, tmp_path: Path, workspace: Path) -> None:
    """Alpha is there and ignored; both axes and an odd size, so that no axis can stand for the other."""
    texture = Texture(picture(workspace, "a", mode, (7, 5)), 1, wrap)  # type: ignore[arg-type]
    assert_same(surface(Material("m", (1, 1, 1), texture)), tmp_path)


def test_factors_go_into_pictures(tmp_path: Path, workspace: Path) -> None:
    """Of the colour in linear light, of roughness and metal as they are, of emission."""
    color, glow, gloss = (
        Texture(picture(workspace, name, "RGB", seed=place)) for place, name in enumerate("abc")
    )
    made = surface(
        Material("m", (0.5, 0.9, 0.1), color, metallic=0.7, roughness=0.4, metallic_roughness_texture=gloss),
        Material("n", (0.3, 0.3, 0.3), emission=(0.2, 1.0, 0.6), emission_texture=glow),
        Material("o", (1.0, 1.0, 1.0), color, metallic=0.0, roughness=1.0, metallic_roughness_texture=gloss),
    )
    read, notes = written(made, tmp_path)
    assert not notes
    metal = replace(made.materials[0], metallic=1.0, roughness=1.0)
    bright = replace(made.materials[1], emission=(1.0, 1.0, 1.0))
    expected = replace(made, materials=(metal, bright, made.materials[2]))
    found = differences(expected, read, ROUNDED)
    assert [text.split(" differs")[0] for text in found] == ["emission_texture", "metallic_roughness_texture"]
    pixels = {
        name: np.asarray(Image.open(path.path)).astype(float)
        for name, path in (("glow", glow), ("gloss", gloss))
    }
    materials = {material.name: material for material in read.materials}
    rough = np.asarray(Image.open(materials["m"].metallic_roughness_texture.path))  # type: ignore[union-attr]
    np.testing.assert_allclose(rough[..., 1], pixels["gloss"][..., 1] * 0.4, atol=0.501)
    np.testing.assert_allclose(rough[..., 2], pixels["gloss"][..., 2] * 0.7, atol=0.501)
    shine = np.asarray(Image.open(materials["n"].emission_texture.path)) / 255  # type: ignore[union-attr]
    srgb = pixels["glow"] / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4) * (0.2, 1.0, 0.6)
    expected_glow = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    np.testing.assert_allclose(shine, expected_glow, atol=0.501 / 255)


def test_colors_of_corners(tmp_path: Path) -> None:
    """Times the material's colour, grey or not; where a material has one colour only it needs no vertices."""
    made = surface(Material("m", (0.5, 0.5, 0.5)), Material("n", (0.2, 0.7, 0.1)), colors=True)
    assert made.colors is not None
    read = assert_same(made, tmp_path)
    assert read.colors is not None
    made.colors[:] = (0.5, 0.25, 1.0, 1.0)
    read = assert_same(made, tmp_path)
    assert read.colors is None


@pytest.mark.parametrize("cutoff", [0.5, 0.2, 0.9])
@pytest.mark.parametrize("own", [True, False])
def test_leaves_are_cut_where_they_were(own: bool, cutoff: float, tmp_path: Path, workspace: Path) -> None:
    """Alpha of all values, cut at any of them, of the colour texture or of a picture of its own."""
    pixels = np.zeros((32, 32, 4), np.uint8)
    pixels[..., :3] = (200, 100, 50)
    pixels[..., 3] = np.clip(np.hypot(*(np.mgrid[:32, :32] - 15.5)) * 16, 0, 255)
    Image.fromarray(pixels).save(workspace / "leaf.png")
    leaf = Texture(workspace / "leaf.png")
    color = leaf if own else Texture(picture(workspace, "a", "RGB"))
    made = surface(Material("m", (1, 1, 1), color, 1.0, "mask", None if own else leaf, cutoff), spread=1.0)
    read, notes = written(made, tmp_path)
    assert not notes
    expected = settle_alpha(made, Treatment(), Counter())
    assert len(expected) == len(read)
    assert differences(solid(expected), solid(read)) == []
    generator = np.random.default_rng(1)
    triangle, weights = generator.integers(len(read), size=5000), generator.dirichlet((1, 1, 1), 5000)[:, 1:]
    before = SurfaceColors(expected).alpha(triangle, weights) >= cutoff
    after = SurfaceColors(read).alpha(triangle, weights) >= 0.5
    assert (before == after).mean() > 0.98
    assert 0.02 < before.mean() < 0.98


def solid(made: Surface) -> Surface:
    opaque = (replace(material, alpha="opaque", alpha_texture=None) for material in made.materials)
    return replace(made, materials=tuple(opaque))


def test_glass_stays_glass(tmp_path: Path, workspace: Path) -> None:
    """By opacity, by transmission, by a picture: it goes when glass is removed, and is there when it is drawn."""
    veil = picture(workspace, "a", "L", (32, 32))
    Image.fromarray(np.full((32, 32), 100, np.uint8)).save(veil)
    made = surface(
        Material("wall", (0.5, 0.4, 0.3)),
        Material("pane", (0.1, 0.2, 0.3), opacity=0.4, alpha="blend"),
        Material("bulb", (0.9, 0.8, 0.7), transmission=1.0),
        Material("veil", (0.9, 0.8, 0.7), alpha="blend", alpha_texture=Texture(veil)),
    )
    read, notes = written(made, tmp_path)
    assert not notes
    assert len(read) == TRIANGLES // 4
    whole, _ = written(made, tmp_path, Treatment(transparent="opaque"))
    assert differences(settle_alpha(made, Treatment(transparent="opaque"), Counter()), whole) == []


def test_a_second_layer_that_is_the_first_moved(tmp_path: Path, workspace: Path) -> None:
    color, glow = Texture(picture(workspace, "a", "RGB")), Texture(picture(workspace, "b", "RGB", seed=1), 1)
    material = Material("m", (1, 1, 1), color, emission=(1, 1, 1), emission_texture=glow)
    made = surface(material)
    moved = (made.uvs[0] * (2, -0.5) + (0.25, 0.75)).astype(np.float32)
    assert_same(replace(made, uvs=(made.uvs[0], moved)), tmp_path)
    _, notes = written(made, tmp_path)  # the first layer's triangles lie on each other: nothing can be baked
    assert notes == {"textures in a second layer of coordinates left out": 1}


def beside_each_other() -> npt.NDArray[np.float32]:
    """[F,3,2] coordinates of triangles that have cells of the picture of their own."""
    cells = np.stack(np.meshgrid(np.arange(7), np.arange(6)), axis=-1).reshape(-1, 1, 2)[:TRIANGLES]
    corner = np.array([[0.1, 0.1], [0.9, 0.1], [0.1, 0.9]])
    return ((cells + corner) / 7).astype(np.float32)


def smooth_picture(folder: Path, name: str) -> Path:
    """Colours that change slowly, so that a picture of other texels shows them as well."""
    y, x = np.mgrid[:64, :64] / 64
    pixels = np.stack([x, y, (x + y) / 2], axis=-1) * 200 + 20
    Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{name}.png")
    return folder / f"{name}.png"


def test_a_second_layer_is_baked_into_the_first(tmp_path: Path, workspace: Path) -> None:
    """Where its triangles lie beside each other: what glows at a place is what glowed there."""
    color, glow = Texture(smooth_picture(workspace, "a")), Texture(smooth_picture(workspace, "b"), 1)
    material = Material("m", (1, 1, 1), color, emission=(1, 1, 1), emission_texture=glow)
    made = surface(material, spread=1.0)
    made = replace(made, uvs=(beside_each_other(), np.abs(made.uvs[1]) * np.float32(0.9)))
    read, notes = written(made, tmp_path)
    assert not notes
    shown = next(one.emission_texture for one in read.materials)
    assert shown is not None
    glowing = replace(read, materials=(Material("m", (1, 1, 1), shown),))
    truth = replace(made, materials=(Material("m", (1, 1, 1), glow),))
    assert differences(truth, glowing, color=0.04) == []


def test_colors_of_corners_are_baked_into_a_texture(tmp_path: Path, workspace: Path) -> None:
    """With the material's colour; where triangles lie on each other in the picture they are counted instead."""
    material = Material("m", (0.9, 0.5, 0.7), Texture(smooth_picture(workspace, "a")))
    made = surface(material, colors=True, spread=1.0)
    read, notes = written(replace(made, uvs=(beside_each_other(),)), tmp_path)
    assert not notes
    assert differences(replace(made, uvs=(beside_each_other(),)), read, color=0.04) == []
    _, notes = written(made, tmp_path)
    assert notes == {"vertex colours beside a texture left out": 1}


def test_one_picture_is_written_once(tmp_path: Path, workspace: Path) -> None:
    texture = Texture(picture(workspace, "a", "RGB"))
    made = surface(*(Material(name, (1, 1, 1), texture) for name in "mno"))
    assert_same(made, tmp_path)
    assert len(list((tmp_path / "library/model/images").iterdir())) == 1


def test_a_mirrored_surface_keeps_its_outside() -> None:
    made = surface(Material("m"), smooth=True)
    mirrored = placed(made, np.diag([-1.0, 2.0, 1.0]), np.array([0.0, 1.0, 0.0]))
    back = placed(mirrored, np.diag([-1.0, 0.5, 1.0]), np.array([0.0, -0.5, 0.0]))
    assert differences(made, back) == []
    one, other, third = (mirrored.positions[mirrored.triangles[:, corner]] for corner in range(3))
    a, b, c = (made.positions[made.triangles[:, corner]] * (-1, 2, 1) + (0, 1, 0) for corner in range(3))
    np.testing.assert_allclose(np.cross(other - one, third - one), -np.cross(b - a, c - a), atol=1e-9)


@pytest.mark.parametrize("number", range(8))
def test_real_models(number: int, tmp_path: Path) -> None:
    """Models as artists made them, textured and not: the library's files are what the original's are."""
    paths = sorted(REAL_MODELS.glob("*/*/models/model_normalized.obj"))[number * 7 :: 56]
    if not paths:
        pytest.skip(f"{REAL_MODELS} is not there")
    for path in paths:
        assert_copied(path, path.parents[1], Placement(), tmp_path)


def test_a_real_glb(tmp_path: Path) -> None:
    path = REPOSITORY.parent / "shared/data/meshes-original/pytorch3d-cow/cow.glb"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    assert_copied(path, path.parent, Placement("+z"), tmp_path)


def assert_copied(path: Path, root: Path, placement: Placement, tmp_path: Path) -> None:
    made, _ = read_surface(ModelFiles(path, root, tmp_path / "workspace", ModelLimits()), Treatment())
    read, notes = written(placed(made, placement.rotation()), tmp_path)
    assert not notes
    whole = replace(placement, normalise=True)
    truth = stage_model(path, root, tmp_path / "workspace", ModelLimits(), Treatment(), whole)
    assert differences(truth.surface, read) == [], path
