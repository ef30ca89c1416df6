"""From a file to what is drawn: placed, of sound numbers, without glass and doubles, whatever the file holds."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from synthetic.layouts.shapenet import BrokenModelError, Placement
from synthetic.staging.coplanar import LIFT
from synthetic.staging.sampling import base_color
from synthetic.staging.stage import READERS, stage_model
from synthetic.staging.surface import Material, Part, ReadModel, StagedModel, face_normals
from synthetic.staging.treatment import ModelLimits, Treatment
from tests.synthetic.small_library import REPOSITORY
from tests.synthetic.staging.test_coplanar import BOX, CUBE, part, sheet

INPUTS = REPOSITORY.parent / "shared/inputs/models"
PLACED = Placement(front="+z", normalise=True)
PLAIN = (Material("plain"),)


@pytest.fixture
def staged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Stages parts as if a reader had found them in a file."""

    def staged(
        *parts: Part,
        materials: tuple[Material, ...] = PLAIN,
        notes: dict[str, int] | None = None,
        **options: Any,
    ) -> StagedModel:
        path = tmp_path / "model.obj"
        path.write_bytes(b"a model")

        def read(files: Any, treatment: Treatment) -> ReadModel:
            files.read(path)
            return ReadModel(parts, materials, 99, Counter(notes or {}))

        monkeypatch.setitem(READERS, ".obj", read)
        options = {"placement": PLACED, "treatment": Treatment(), "limits": ModelLimits()} | options
        return stage_model(path, tmp_path, tmp_path / "workspace", **options)

    return staged


def corners(model: StagedModel) -> np.ndarray:
    return model.surface.positions[model.surface.triangles]


def moved(
    box: Part, scale: float = 1.0, shift: tuple[float, float, float] = (0, 0, 0), step: float = 0.0
) -> Part:
    return replace(box, positions=box.positions * scale + shift, step=step)


def test_models_are_centred_scaled_and_turned(staged: Any) -> None:
    long = replace(BOX, positions=CUBE * [1, 2, 2] + 7)
    model = staged(long, notes={"lights ignored": 2})
    assert (model.faces, model.notes, list(model.sha256)) == (99, {"lights ignored": 2}, ["model.obj"])
    expected = (CUBE * [1, 2, 2] - [0.5, 1, 1]) / 3
    np.testing.assert_allclose(corners(model), expected[BOX.triangles], atol=1e-15)
    file = np.concatenate([long.positions, np.ones((8, 1))], axis=1)
    np.testing.assert_allclose((file @ model.to_world.T)[:, :3], expected, atol=1e-15)
    turned = staged(long, placement=Placement(front="+x", up="+z", normalise=True))
    # what was +x is the front (+z), what was +z is up (+y), and so what was +y is +x
    np.testing.assert_allclose(corners(turned), expected[:, [1, 2, 0]][BOX.triangles], atol=1e-15)


def test_smooth_normals_turn_along(staged: Any) -> None:
    flat = face_normals(CUBE, BOX.triangles)
    smooth = replace(
        moved(BOX, 40.0, (3, 4, 5)), normals=np.repeat(flat[:, None], 3, axis=1).astype(np.float32)
    )
    model = staged(smooth, placement=Placement(front="-x", up="+z", normalise=True))
    expected = face_normals(model.surface.positions, model.surface.triangles)
    np.testing.assert_allclose(model.surface.normals, np.repeat(expected[:, None], 3, axis=1), atol=1e-6)


@pytest.mark.parametrize("far", [1e3, 1e6, 1e9])
def test_far_away_models_keep_their_shape_where_the_file_still_has_it(staged: Any, far: float) -> None:
    model = staged(moved(BOX, 1.0, (far, -far, far)))
    np.testing.assert_allclose(corners(model), ((CUBE - 0.5) / np.sqrt(3))[BOX.triangles], atol=far * 1e-15)


@pytest.mark.parametrize(("far", "kept"), [(1e2, True), (1e3, True), (1e4, False), (1e7, False)])
def test_shapes_rounded_away_in_single_precision_are_refused(staged: Any, far: float, kept: bool) -> None:
    step = float(np.spacing(np.float32(far)))
    box = moved(BOX, 1.0, (far, 0, 0), step)
    box = replace(box, positions=box.positions.astype(np.float32).astype(float))
    if kept:
        model = staged(box)
        assert np.abs(corners(model) - ((CUBE - 0.5) / np.sqrt(3))[BOX.triangles]).max() < 1e-4
    else:
        with pytest.raises(BrokenModelError, match="times its own size from the origin"):
            staged(box)


@pytest.mark.parametrize(("far", "kept"), [(1e11, True), (1e13, False), (1e15, False)])
def test_so_are_those_rounded_away_in_double_precision(staged: Any, far: float, kept: bool) -> None:
    box = moved(BOX, 1.0, (far, 0, 0))
    if kept:
        np.testing.assert_allclose(
            corners(staged(box)), ((CUBE - 0.5) / np.sqrt(3))[BOX.triangles], atol=1e-4
        )
    else:
        with pytest.raises(BrokenModelError, match="times its own size from the origin"):
            staged(box)


@pytest.mark.parametrize("scale", [1e-12, 1e-3, 1e6, 1e20])
def test_sizes_do_not_matter(staged: Any, scale: float) -> None:
    model = staged(moved(BOX, scale))
    np.testing.assert_allclose(corners(model), ((CUBE - 0.5) / np.sqrt(3))[BOX.triangles], atol=1e-14)


def test_faces_without_area_are_dropped_and_make_no_box_larger(staged: Any) -> None:
    bad = part(
        [
            [0, 0, 0],
            [9e9, 0, 0],
            [9e9, 0, 0],
            [0.1, 0.1, 0.1],
            [0.3, 0.3, 0.3],
            [0.2, 0.2, np.nextafter(0.2, 1)],
        ],
        [[0, 1, 2], [1, 1, 1], [3, 4, 5]],
    )
    model = staged(BOX, bad)
    assert model.notes == {"faces without area dropped": 3}
    np.testing.assert_allclose(corners(model), ((CUBE - 0.5) / np.sqrt(3))[BOX.triangles], atol=1e-15)
    with pytest.raises(BrokenModelError, match="none of its faces has an area"):
        staged(bad)


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (replace(BOX, triangles=BOX.triangles + 1), "corner that is none of its 8 vertices"),
        (replace(BOX, triangles=BOX.triangles - 1), "corner that is none of its 8 vertices"),
        (replace(BOX, positions=CUBE + np.array([0, np.nan, 0])), "vertex that is not finite"),
        (replace(BOX, positions=CUBE + np.array([0, np.inf, 0])), "vertex that is not finite"),
        (
            replace(BOX, uvs=(np.full((12, 3, 2), np.nan, np.float32),)),
            "texture coordinate that is not finite",
        ),
        (replace(BOX, positions=CUBE * 1e200), "area|diagonal"),
        (replace(BOX, triangles=BOX.triangles[:0]), "no faces"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.filterwarnings("ignore:invalid value")
def test_unsound_arrays_are_refused(staged: Any, broken: Part, reason: str) -> None:
    if len(broken.triangles):
        with pytest.raises(BrokenModelError, match=reason):
            staged(broken, BOX)  # the next part's vertices are none of this one's
    with pytest.raises(BrokenModelError, match=reason):
        staged(broken)


def test_positions_that_no_face_uses_do_not_matter(staged: Any) -> None:
    model = staged(replace(BOX, positions=np.concatenate([CUBE, [[np.nan] * 3, [1e9] * 3]])))
    np.testing.assert_allclose(corners(model), ((CUBE - 0.5) / np.sqrt(3))[BOX.triangles], atol=1e-15)


def test_models_that_reach_too_far_are_refused_unless_normalised(staged: Any) -> None:
    with pytest.raises(BrokenModelError, match=r"lies 1.73 from the origin, expected at most 1"):
        staged(BOX, placement=Placement())
    assert len(staged(BOX, placement=Placement(), reach=2.0).surface) == 12


def test_glass_that_is_removed_does_not_count_for_the_size_and_doubles_are_dropped(staged: Any) -> None:
    dome = replace(moved(BOX, 5.0, (-2, -2, -2)), material=np.ones(12, np.int32))
    glass = (*PLAIN, Material("glass", opacity=0.3, alpha="blend"))
    model = staged(BOX, dome, BOX, materials=glass)
    assert model.notes == {"transparent faces removed": 12, "doubled faces dropped": 12}
    np.testing.assert_allclose(corners(model), ((CUBE - 0.5) / np.sqrt(3))[BOX.triangles], atol=1e-15)


def test_labels_are_raised_by_a_part_of_the_models_size(staged: Any) -> None:
    for scale in (1e-3, 1e3):
        label = part(*sheet(0.2, 0.2, 0.5, 0.5))
        model = staged(moved(BOX, scale), moved(label, scale))
        assert model.notes == {"faces lying in others raised": 2}
        raised = corners(model)[model.surface.part == 1]
        np.testing.assert_allclose(np.abs(raised[..., 2] + 0.5 / np.sqrt(3)), LIFT, rtol=1e-9)


def test_old_textures_of_the_workspace_go(staged: Any, tmp_path: Path) -> None:
    (tmp_path / "workspace").mkdir()
    (tmp_path / "workspace/texture0.png").write_bytes(b"old")
    staged(BOX)
    assert not list((tmp_path / "workspace").iterdir())


def shared(name: str, tmp_path: Path, **treatment: Any) -> StagedModel:
    paths = [*INPUTS.glob(f"{name}/model.glb"), *INPUTS.glob(f"{name}/model/model.obj")]
    if not paths:
        pytest.skip("the shared inputs are not at hand")
    path = paths[0]
    return stage_model(path, path.parent, tmp_path / name, ModelLimits(), Treatment(**treatment), PLACED)


def look(model: StagedModel) -> np.ndarray:
    """Middles of the triangles and the colours there, in an order of their own."""
    count = len(model.surface)
    colors = base_color(model.surface, np.arange(count), np.full((count, 2), 1 / 3))
    rows = np.concatenate([corners(model).mean(axis=1), colors], axis=1).round(6) + 0.0
    return rows[np.lexsort(rows.T)]


@pytest.mark.parametrize(
    ("name", "like", "notes"),
    [
        ("B19_doubleface", "A0_base", {"doubled faces dropped": 12}),
        ("H1_glb_double", "G0_base", {"doubled faces dropped": 12}),
        ("G18b_blend_opaque_rgba", "G0_base", {}),
        ("G18c_blend_rgb", "G0_base", {}),
        ("A8b_mapd_white", "A0_base", {}),
        ("A6b_d1_Tr1", "A0_base", {}),
        ("B29c_glassdome", "A0_base", {"transparent faces removed": 12}),
    ],
)
def test_what_is_special_about_a_case_does_not_show(
    tmp_path: Path, name: str, like: str, notes: dict[str, int]
) -> None:
    model, base = shared(name, tmp_path), shared(like, tmp_path)
    assert model.notes == notes
    np.testing.assert_allclose(look(model), look(base), atol=2e-6)
    assert {material.alpha for material in model.surface.materials} == {"opaque"}


def test_front_and_back_in_two_materials_become_one(tmp_path: Path) -> None:
    model = shared("D6_frontback", tmp_path)
    assert model.notes == {"doubled faces dropped": 12}
    assert len(model.surface) == 12
    assert len(set(model.surface.material)) == 1


@pytest.mark.parametrize("name", ["G18_mask_leaf", "M1_tree"])
def test_leaves_are_cut_or_kept_and_counted(tmp_path: Path, name: str) -> None:
    model, solid = shared(name, tmp_path), shared(name, tmp_path, cutouts="solid")
    assert any("alpha" in phrase for phrase in model.notes)
    assert any(material.alpha == "mask" for material in model.surface.materials)
    assert len(solid.surface) >= len(model.surface)
    assert {material.alpha for material in solid.surface.materials} == {"opaque"}


@pytest.mark.parametrize("name", ["G19e_transmission", "T1_Tr07"])
def test_glass_alone_is_refused_or_drawn_opaque(tmp_path: Path, name: str) -> None:
    with pytest.raises(BrokenModelError, match="all of its faces are transparent"):
        shared(name, tmp_path)
    model = shared(name, tmp_path, transparent="opaque")
    np.testing.assert_allclose(
        look(model), look(shared("A0_base" if name[0] == "T" else "G0_base", tmp_path)), atol=2e-6
    )
