"""Small files that came out wrong once, and a real one: what they show, against a second reader."""

from __future__ import annotations

from pathlib import Path

import pytest

from synthetic.layouts.shapenet import BrokenModelError
from synthetic.staging.surface import merge
from tests.synthetic.small_library import REPOSITORY
from tests.synthetic.staging.glb_writer import read
from tests.synthetic.staging.ray_comparison import assert_same_shape

INPUTS = REPOSITORY.parent / "shared/inputs/models"
COW = REPOSITORY.parent / "shared/data/meshes-original/pytorch3d-cow/cow.glb"
SHOWN_AS = {  # cases of the shared inputs whose shape is that of another one, or None
    "G0_base": None,
    "G8_scenes": "G0_base",
    "G9_orphan": "G0_base",
    "G10b_lights": "G0_base",
    "G12_skin_rest": "G0_base",
    "G12b_skin_posed": None,
    "G13_morph1": None,
    "G18_mask_leaf": "G0_base",
    "G18b_blend_opaque_rgba": "G0_base",
    "G18c_blend_rgb": "G0_base",
    "G19e_transmission": "G0_base",
    "H1_glb_double": None,
    "N0_base": None,
    "N1_anim_z90": "N0_base",
    "N4_anim_scale100": None,
    "C2_first": None,
    "C5_both": "C2_first",
    "M1_tree": None,
    "M2_blend_rgb_part": "M1_tree",
}


@pytest.mark.parametrize("name", SHOWN_AS)
def test_shared_case(name: str, tmp_path: Path) -> None:
    path = INPUTS / name / "model.glb"
    if not path.is_file():
        pytest.skip("the shared inputs are not at hand")
    content = path.read_bytes()
    model = read(content, tmp_path / "model")
    assert_same_shape(model, content)
    like = SHOWN_AS[name]
    if like is not None:
        assert_same_shape(model, (INPUTS / like / "model.glb").read_bytes())


@pytest.mark.slow
def test_a_real_model_is_what_a_second_reader_sees(tmp_path: Path) -> None:
    if not COW.is_file():
        pytest.skip("the shared models are not at hand")
    content = COW.read_bytes()
    assert_same_shape(read(content, tmp_path / "model"), content)


def test_shared_case_of_a_compression_that_is_not_read(tmp_path: Path) -> None:
    path = INPUTS / "G16_meshopt/model.glb"
    if not path.is_file():
        pytest.skip("the shared inputs are not at hand")
    with pytest.raises(
        BrokenModelError, match=r"EXT_meshopt_compression.*gltfpack -noq -i IN\.glb -o OUT\.glb"
    ):
        read(path.read_bytes(), tmp_path / "model")


@pytest.mark.parametrize("name", ["C2_first", "C5_both"])
def test_shared_case_of_vertex_colours(name: str, tmp_path: Path) -> None:
    """On the first of two objects, and on both: white on the other one either way."""
    path = INPUTS / name / "model.glb"
    if not path.is_file():
        pytest.skip("the shared inputs are not at hand")
    model = read(path.read_bytes(), tmp_path / "model")
    surface = merge(model.parts, model.materials)
    assert surface.colors is not None
    means = [
        surface.colors[surface.part == number].mean(axis=(0, 1)).round(3).tolist() for number in range(2)
    ]
    assert sorted(means) == [[0.5, 0, 0.5, 1], [1, 1, 1, 1]]
