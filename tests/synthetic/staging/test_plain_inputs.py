"""Small OBJ and PLY files that came out wrong once: what rays see of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from synthetic.layouts.shapenet import Placement
from synthetic.staging.stage import stage_model
from synthetic.staging.surface import ReadModel, StagedModel
from synthetic.staging.treatment import ModelLimits, Treatment
from tests.synthetic.small_library import REPOSITORY
from tests.synthetic.staging.plain_files import assert_seen_alike, read_file, seen

INPUTS = REPOSITORY.parent / "shared/inputs/models"
SEEN_AS = {
    "A11_bom": "A0_base",
    "A11b_bom_mtl": "A0_base",
    "A11e_latin1": "A0_base",
    "A5_multimtllib": "A0_base",
    "A6_Tr1": "A0_base",
    "A6b_d1_Tr1": "A0_base",
    "A8b_mapd_white": "A0_base",
    "B5b_vcol_mat": "B5_vcol",
    "B6_ply_uchar": "B5_vcol",
}


def path_of(name: str) -> Path:
    paths = [*INPUTS.glob(f"{name}/model/model.obj"), *INPUTS.glob(f"{name}/model.ply")]
    if not paths:
        pytest.skip("the shared inputs are not at hand")
    return paths[0]


def case(name: str) -> ReadModel:
    return read_file(path_of(name))


def staged(name: str, folder: Path) -> StagedModel:
    path, placement = path_of(name), Placement("+z", "+y", True)
    return stage_model(path, path.parent, folder / name, ModelLimits(), Treatment(), placement)


@pytest.mark.parametrize("name", SEEN_AS)
def test_what_is_special_does_not_show(name: str) -> None:
    model = case(name)
    assert_seen_alike(model, case(SEEN_AS[name]))
    assert not model.notes
    assert {material.alpha for material in model.materials} == {"opaque"}


@pytest.mark.parametrize("name", [*SEEN_AS, "B19_doubleface"])
def test_after_staging_neither(tmp_path: Path, name: str) -> None:
    truth = SEEN_AS.get(name, "A0_base")
    assert_seen_alike(staged(name, tmp_path).surface, staged(truth, tmp_path).surface)


def test_the_base_has_four_coloured_quarters() -> None:
    depth, colors = seen(case("A0_base"))
    found = np.unique(np.round(colors[np.isfinite(depth), :3], 3), axis=0)
    assert len(found) >= 4
    assert np.ptp(found, axis=0).min() > 0.5


def test_vertex_colours_are_those_of_the_file() -> None:
    model = case("B5_vcol")
    (part,) = model.parts
    assert part.colors is not None
    high = part.positions[part.triangles][..., 1] > 0
    np.testing.assert_array_equal(part.colors[..., :3], np.where(high[..., None], [1, 0, 0], [0, 0, 1]))
    assert [material.color for material in model.materials] == [(1, 1, 1)]


@pytest.mark.parametrize("name", ["B19_doubleface", "D6_frontback"])
def test_doubled_faces_are_read_twice_and_are_those_of_the_box(name: str) -> None:
    model = case(name)
    np.testing.assert_allclose(seen(model)[0], seen(case("A0_base"))[0], rtol=1e-6)
    assert len(model.parts[0].triangles) == 24
    if name == "D6_frontback":
        assert [material.color for material in model.materials] == [(0.8, 0.1, 0.1), (0.1, 0.1, 0.8)]


@pytest.mark.parametrize(("name", "opacity"), [("T1_Tr07", 0.3), ("B29c_glassdome", 0.2)])
def test_glass_says_so(name: str, opacity: float) -> None:
    material = case(name).materials[-1]
    assert (material.alpha, round(material.opacity, 6)) == ("blend", opacity)
