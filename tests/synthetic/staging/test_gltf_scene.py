"""What a glTF scene shows, in the pose in which it is stored, against a second reader and rays of another library."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from synthetic.layouts.shapenet import BrokenModelError
from synthetic.staging.surface import face_normals, merge
from synthetic.staging.treatment import ModelLimits
from tests.synthetic.staging.glb_writer import TRIANGLE, primitive_of, single
from tests.synthetic.staging.gltf_reference import read_reference
from tests.synthetic.staging.gltf_scenes import RINGS, SCENES, SIDES, skinned, tube
from tests.synthetic.staging.ray_comparison import assert_same_shape


@pytest.mark.parametrize("name", SCENES)
def test_scene_is_what_a_second_reader_sees(name: str, tmp_path: Path) -> None:
    glb = SCENES[name]()
    assert_same_shape(glb.read(tmp_path / "model"), glb.content())


@pytest.mark.parametrize("name", SCENES)
def test_numbers_are_those_of_the_second_reader(name: str, tmp_path: Path) -> None:
    """Corner by corner, in float64: what rays of float32 leave open."""
    glb = SCENES[name]()
    model = glb.read(tmp_path / "model")
    surface = merge(model.parts, model.materials)
    corners = surface.positions[surface.triangles]
    truth = np.array(read_reference(glb.content()).triangles)
    order = [np.lexsort(each.mean(axis=1).round(6).T) for each in (corners, truth)]
    found, wanted = (each[places].mean(axis=1) for each, places in zip((corners, truth), order, strict=True))
    np.testing.assert_allclose(found, wanted, atol=1e-9 * np.abs(truth).max())


def test_the_skin_matters(tmp_path: Path) -> None:
    """The comparison would notice a skin that is left in its bind pose."""
    glb = skinned(1, 6)
    content = glb.content()
    for node in glb.json["nodes"]:
        node.pop("skin", None)
    with pytest.raises(AssertionError):
        assert_same_shape(glb.read(tmp_path / "model"), content)


@pytest.mark.parametrize("name", ["skin at six joints", "mirrored armature", "mirrored nodes"])
def test_normals_point_where_the_triangles_do(name: str, tmp_path: Path) -> None:
    glb = SCENES[name]()
    if name == "mirrored nodes":
        vertices, _, _ = tube()
        outward = vertices * [1, 0, 1] + [0, 1e-3, 0]
        outward /= np.linalg.norm(outward, axis=1, keepdims=True)
        primitive_of(glb)["attributes"]["NORMAL"] = glb.accessor(outward.astype(np.float32))
    model = glb.read(tmp_path / "model")
    surface = merge(model.parts, model.materials)
    assert surface.normals is not None
    np.testing.assert_allclose(np.linalg.norm(surface.normals, axis=2), 1, atol=1e-5)
    sides = surface.triangles % (RINGS * SIDES + 2)
    walls = (sides < RINGS * SIDES).all(axis=1)  # the normals of the caps are those of the walls
    agree = (surface.normals * face_normals(surface.positions, surface.triangles)[:, None]).sum(axis=2)
    assert np.mean(agree[walls] > 0) > 0.94  # all but the fin, whose normals are those of the tube


def test_normals_turn_as_their_faces_do(tmp_path: Path) -> None:
    """Under a matrix that shears and mirrors, where a normal that moved like a direction would lean."""
    glb = single(NORMAL=np.array([[0, 0, 2]] * 3, np.float32))
    matrix = np.array([[-1, 0, 0, 0], [0.5, 3, 0, 0], [2, 0.3, 1e-3, 0], [0, 0, 0, 1]])
    glb.json["nodes"][0]["matrix"] = matrix.T.reshape(-1).tolist()
    (part,) = glb.read(tmp_path / "model").parts
    assert part.normals is not None
    wanted = np.repeat(face_normals(part.positions, part.triangles)[:, None], 3, axis=1)
    np.testing.assert_allclose(part.normals, wanted, atol=1e-6)


def test_normals_that_are_none_are_those_of_the_face(tmp_path: Path) -> None:
    useless = np.array([[0, 0, 0], [np.nan, 0, 1], [3, 0, 0]], np.float32)
    (part,) = single(NORMAL=useless).read(tmp_path / "model").parts
    np.testing.assert_array_equal(part.normals, [[[0, 0, 1], [0, 0, 1], [1, 0, 0]]])


def test_what_is_not_shown_is_counted(tmp_path: Path) -> None:
    glb = single()
    glb.json["scenes"].append({"nodes": []})
    glb.json["animations"] = [{}, {}]
    mesh = glb.mesh(
        [
            {"attributes": {"POSITION": 0}, "mode": 1},
            {"attributes": {"POSITION": 0}, "mode": 0},
            {"attributes": {}},
        ]
    )
    glb.node(mesh=mesh)
    glb.node(False, mesh=0)
    glb.node(camera=0, extensions={"KHR_lights_punctual": {"light": 0}})
    glb.node(mesh=0, extensions={"KHR_node_visibility": {"visible": False}})
    model = glb.read(tmp_path / "model")
    assert model.faces == 1
    assert model.notes == {
        "other scenes ignored": 1,
        "animations ignored": 2,
        "lines ignored": 1,
        "points ignored": 1,
        "primitives without positions ignored": 1,
        "cameras ignored": 1,
        "lights ignored": 1,
        "hidden nodes ignored": 1,
        "meshes outside the scene ignored": 2,
    }


def test_without_scenes_all_nodes_are_shown(tmp_path: Path) -> None:
    glb = single()
    glb.node(mesh=0, translation=[5, 0, 0])
    del glb.json["scenes"], glb.json["scene"]
    model = glb.read(tmp_path / "model")
    assert model.faces == 2
    assert model.notes == {"no scene named, all nodes shown": 1}


def test_the_scene_that_the_file_names_is_shown(tmp_path: Path) -> None:
    glb = single()
    glb.json["scenes"].append({"nodes": [glb.node(False, mesh=0, translation=[5, 0, 0])]})
    glb.json["scene"] = 1
    (part,) = glb.read(tmp_path / "model").parts
    np.testing.assert_array_equal(part.positions, TRIANGLE + np.float32([5, 0, 0]))


def test_instances_stand_where_they_should(tmp_path: Path) -> None:
    glb = single()
    shifts = np.array([[0, 0, 0], [0, 0, 4], [0, 0, 9]], np.float32)
    turns = np.array([[0, 0, 0, 127], [0, 0, 127, 0], [0, 0, 0, 127]], np.int8)
    scales = np.array([[1, 1, 1], [2, 2, 2], [-1, 1, 1]], np.float32)
    glb.json["nodes"][0] |= {
        "translation": [10, 0, 0],
        "extensions": {
            "EXT_mesh_gpu_instancing": {
                "attributes": {
                    "TRANSLATION": glb.accessor(shifts),
                    "ROTATION": glb.accessor(turns, normalized=True),
                    "SCALE": glb.accessor(scales),
                }
            }
        },
    }
    (part,) = glb.read(tmp_path / "model").parts
    corners = part.positions[part.triangles]
    np.testing.assert_allclose(corners[1], [[10, 0, 4], [8, 0, 4], [10, -2, 4]], atol=1e-12)
    np.testing.assert_allclose(corners[2], [[10, 0, 9], [10, 1, 9], [9, 0, 9]], atol=1e-12)  # other way round
    with pytest.raises(BrokenModelError, match="3 times, more than the 2 faces allowed"):
        glb.read(tmp_path / "model", ModelLimits(max_faces=2))


@pytest.mark.parametrize(
    ("children", "reason"),
    [
        ({0: [1], 1: [0]}, "its own ancestor"),
        ({0: [0]}, "its own ancestor"),
        ({0: [2], 1: [2]}, "two parents"),
        ({0: [7]}, "entry 7 of nodes"),
    ],
)
def test_nodes_that_are_no_tree_are_refused(
    children: dict[int, list[int]], reason: str, tmp_path: Path
) -> None:
    glb = single()
    for _ in range(2):
        glb.node(False, mesh=0)
    for number, below in children.items():
        glb.json["nodes"][number]["children"] = below
    with pytest.raises(BrokenModelError, match=reason):
        glb.read(tmp_path / "model")


def test_a_deep_tree_is_no_trouble(tmp_path: Path) -> None:
    glb = single()
    for number in range(20_000):
        glb.node(False, translation=[1, 0, 0])
        glb.json["nodes"][number]["children"] = [number + 1]
    glb.json["nodes"][20_000]["mesh"] = 0
    assert glb.read(tmp_path / "model").parts[1].positions[0, 0] == 20_000


def test_a_joint_that_the_skin_does_not_have_is_refused(tmp_path: Path) -> None:
    glb = skinned(0, 2)
    glb.json["skins"][0]["joints"].pop()
    with pytest.raises(BrokenModelError, match="joint 1 of a skin that has 1"):
        glb.read(tmp_path / "model")


def test_steps_are_those_of_the_stored_numbers(tmp_path: Path) -> None:
    """A million from the origin float32 leaves sixteenths; a shift of the node costs nothing, a scale counts."""
    far = single(TRIANGLE + np.float32([1e6, 0, 0]))
    assert far.read(tmp_path / "model").parts[0].step == pytest.approx(0.0625)
    far.json["nodes"][0]["scale"] = [2, 2, 2]
    assert far.read(tmp_path / "model").parts[0].step == pytest.approx(0.125)
    near = single()
    near.json["nodes"][0]["translation"] = [1e9, 0, 0]
    assert near.read(tmp_path / "model").parts[0].step < 1e-6
    np.testing.assert_array_equal(
        near.read(tmp_path / "model").parts[0].positions, TRIANGLE + np.array([1e9, 0, 0])
    )
