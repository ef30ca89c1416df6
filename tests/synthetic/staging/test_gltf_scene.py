"""What a glTF scene shows, in the pose in which it is stored, against a second reader and rays of another library."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import open3d
import pytest

from synthetic.library.shapenet import BrokenModelError
from synthetic.staging.surface import ReadModel, face_normals, merge
from synthetic.staging.treatment import ModelLimits
from tests.synthetic.small_library import REPOSITORY
from tests.synthetic.staging.glb_writer import TRIANGLE, Glb, primitive_of, read, single
from tests.synthetic.staging.gltf_reference import read_reference

INPUTS = REPOSITORY.parent / "shared/inputs/models"
COW = REPOSITORY.parent / "shared/data/meshes-original/pytorch3d-cow/cow.glb"
RINGS, SIDES = 9, 8
SMALLEST_OVERLAP, LARGEST_ERROR = 0.995, 1e-4

Array = npt.NDArray[Any]


def tube() -> tuple[Array, Array, Array]:
    """Vertices [V,3] of a tube of height 2 with a fin, its triangles, and where along it the vertices lie (0 to 1)."""
    angles = np.arange(SIDES) * 2 * np.pi / SIDES
    heights = np.linspace(0, 2, RINGS)
    rings = [
        np.stack(
            [(0.4 - 0.1 * y) * np.cos(angles), np.full(SIDES, y), (0.3 - 0.08 * y) * np.sin(angles)], axis=1
        )
        for y in heights
    ]
    rings[RINGS // 2][0, 0] += 0.6
    vertices = np.concatenate([*rings, [[0, 0, 0], [0, 2, 0]]]).astype(np.float32)
    triangles = []
    for ring in range(RINGS - 1):
        for side in range(SIDES):
            a, b = ring * SIDES + side, ring * SIDES + (side + 1) % SIDES
            triangles += [(a, a + SIDES, b), (b, a + SIDES, b + SIDES)]
    last = (RINGS - 1) * SIDES
    for side in range(SIDES):
        triangles += [(len(vertices) - 2, side, (side + 1) % SIDES)]
        triangles += [(len(vertices) - 1, last + (side + 1) % SIDES, last + side)]
    return vertices, np.array(triangles, np.uint16), vertices[:, 1] / 2


def turn(rng: np.random.Generator, most: float) -> list[float]:
    axis = rng.normal(size=3)
    angle = rng.uniform(-most, most) / 2
    return [*(axis / np.linalg.norm(axis) * np.sin(angle)).tolist(), float(np.cos(angle))]


def influences(along: Array, joints: int, slots: int) -> tuple[Array, Array]:
    """The nearest joints of each vertex [V,slots] and smooth shares of them, which sum to 1."""
    distance = np.abs(along[:, None] * (joints - 1) - np.arange(joints))
    nearest = np.argsort(distance, axis=1, kind="stable")[:, :slots]
    shares = np.exp(-3 * np.take_along_axis(distance, nearest, axis=1))
    return nearest, shares / shares.sum(axis=1, keepdims=True)


def skinned(
    seed: int,
    joints: int = 4,
    *,
    sets: int = 1,
    weights: str = "f4",
    bind: bool = True,
    armature: dict[str, Any] | None = None,
    skins: int = 1,
    normals: bool = True,
) -> Glb:
    """A tube on a chain of joints, each turned at random; several skins pose the same mesh beside each other."""
    rng, glb = np.random.default_rng(seed), Glb()
    vertices, triangles, along = tube()
    attributes = {"POSITION": glb.accessor(vertices)}
    if normals:
        outward = vertices * [1, 0, 1] + [0, 1e-3, 0]
        outward /= np.linalg.norm(outward, axis=1, keepdims=True)
        attributes["NORMAL"] = glb.accessor(outward.astype(np.float32))
    names, shares = influences(along, joints, 4 * sets if joints >= 4 * sets else joints)
    names = np.pad(names, ((0, 0), (0, 4 * sets - names.shape[1])))
    shares = np.pad(shares, ((0, 0), (0, 4 * sets - shares.shape[1])))
    for number in range(sets):
        some = slice(4 * number, 4 * number + 4)
        attributes[f"JOINTS_{number}"] = glb.accessor(names[:, some].astype(np.uint8))
        scaled = shares[:, some] * (1 if weights == "f4" else np.iinfo(weights).max)
        attributes[f"WEIGHTS_{number}"] = glb.accessor(scaled.astype(weights), normalized=weights != "f4")
    mesh = glb.mesh([{"attributes": attributes, "indices": glb.accessor(triangles.reshape(-1))}])
    for copy in range(skins):
        chain = []
        for number in range(joints):
            offset = 2 / (joints - 1) if number else 0.0
            chain.append(
                glb.node(False, translation=[0, offset, 0], rotation=turn(rng, 0.8), name=f"joint{number}")
            )
            if number:
                glb.json["nodes"][chain[-2]]["children"] = [chain[-1]]
        skin: dict[str, Any] = {"joints": chain}
        if bind:
            rest = np.tile(np.eye(4, dtype=np.float32), (joints, 1, 1))
            rest[:, 1, 3] = -np.arange(joints) * 2 / (joints - 1)
            rest[:, 0, 3] = 0.05 * seed
            skin["inverseBindMatrices"] = glb.accessor(rest.transpose(0, 2, 1).reshape(joints, 16))
        number = glb.add("skins", **skin)
        glb.node(children=[chain[0]], translation=[2.5 * copy, 0, 0], **(armature or {}))
        glb.node(mesh=mesh, skin=number, translation=[7, 8, 9], scale=[3, 1, 2])  # of no account
    return glb


def morphed(on_node: bool) -> Glb:
    vertices, triangles, along = tube()
    rng, glb = np.random.default_rng(5), Glb()
    bulge = (vertices * [1, 0, 1] * np.sin(np.pi * along)[:, None]).astype(np.float32)
    targets = [
        {"POSITION": glb.accessor(bulge)},
        {"POSITION": glb.accessor(rng.normal(0, 0.05, vertices.shape).astype(np.float32))},
        {"POSITION": glb.accessor(np.full_like(vertices, 100))},
    ]
    primitive = {
        "attributes": {"POSITION": glb.accessor(vertices)},
        "indices": glb.accessor(triangles.reshape(-1)),
        "targets": targets,
    }
    mesh = glb.mesh([primitive], weights=[0.0, 0.0, 1.0] if on_node else [0.9, 0.5, 0.0])
    glb.node(mesh=mesh, rotation=[0, 0, 0.6, 0.8], **({"weights": [-0.4, 1.5, 0.0]} if on_node else {}))
    return glb


def tree(animated: bool) -> Glb:
    """Tubes all over a tree of nodes, one of them given by a matrix, mirrored ones among them."""
    glb, rng = Glb(), np.random.default_rng(11)
    vertices, triangles, _ = tube()
    primitive = {
        "attributes": {"POSITION": glb.accessor(vertices)},
        "indices": glb.accessor(triangles.reshape(-1)),
    }
    mesh = glb.mesh([primitive])
    leaf = glb.node(False, mesh=mesh, translation=[1, 2, 3], rotation=turn(rng, 2), scale=[1, -0.7, 1.2])
    matrix = np.eye(4)
    matrix[:3, :3] = rng.normal(size=(3, 3))
    matrix[:3, 3] = [3, 0, 1]
    sheared = glb.node(False, mesh=mesh, matrix=matrix.T.reshape(-1).tolist(), children=[leaf])
    glb.node(mesh=mesh, scale=[-1, 1, 1], rotation=turn(rng, 3), children=[sheared])
    glb.node(mesh=mesh, scale=[-1, -1, -1], translation=[-3, 0, 0])
    if animated:
        glb.json["animations"] = [
            {
                "samplers": [
                    {
                        "input": glb.accessor(np.array([0, 1], np.float32)),
                        "output": glb.accessor(np.array([[9, 9, 9], [5, 5, 5]], np.float32)),
                    }
                ],
                "channels": [{"sampler": 0, "target": {"node": leaf, "path": "translation"}}],
            }
        ] * 2
    return glb


SCENES = {
    "skin at two joints": lambda: skinned(0, 2),
    "skin at six joints": lambda: skinned(1, 6),
    "eight shares a vertex": lambda: skinned(2, 9, sets=2),
    "shares in bytes": lambda: skinned(3, 5, weights="u1"),
    "shares in 16 bits, no normals": lambda: skinned(4, 5, weights="u2", normals=False),
    "no inverse bind matrices": lambda: skinned(5, 3, bind=False),
    "centimetres": lambda: skinned(6, 5, armature={"scale": [0.01] * 3, "rotation": [-0.6, 0, 0, 0.8]}),
    "mirrored armature": lambda: skinned(7, 5, armature={"scale": [-1, 1.3, 1]}),
    "two skins share a mesh": lambda: skinned(8, 4, skins=2),
    "morphed by its mesh": lambda: morphed(False),
    "morphed by its node": lambda: morphed(True),
    "mirrored nodes": lambda: tree(False),
    "animated nodes": lambda: tree(True),
}


class Rays:
    """Triangles [F,3,3] seen from six sides, all in units of the box around the triangles of the truth."""

    def __init__(self, triangles: Array, low: Array, size: float) -> None:
        self._scene = open3d.t.geometry.RaycastingScene()
        points = ((triangles - low) / size).astype(np.float32).reshape(-1, 3)
        self._scene.add_triangles(points, np.arange(len(points), dtype=np.uint32).reshape(-1, 3))

    def cast(self, axis: int, side: int) -> tuple[Array, Array]:
        """How far parallel rays [64 x 64] go, and the normals of the corners' order where they hit."""
        grid = (np.stack(np.meshgrid(np.arange(64), np.arange(64)), axis=-1).reshape(-1, 2) + 0.37) / 64
        origins = np.insert(grid, axis, -1.0 if side else 2.0, axis=1)
        directions = np.zeros_like(origins)
        directions[:, axis] = 1 if side else -1
        rays = np.concatenate([origins, directions], axis=1).astype(np.float32)
        found = self._scene.cast_rays(open3d.core.Tensor(rays), nthreads=1)
        return found["t_hit"].numpy(), found["primitive_normals"].numpy()


def assert_same_shape(model: ReadModel, content: bytes) -> None:
    truth = np.array(read_reference(content).triangles)
    low, high = truth.min(axis=(0, 1)), truth.max(axis=(0, 1))
    size = float(np.linalg.norm(high - low))
    surface = merge(model.parts, model.materials)
    read_triangles = surface.positions[surface.triangles]
    assert len(read_triangles) == len(truth) == model.faces
    seen, expected = Rays(read_triangles, low, size), Rays(truth, low, size)
    for axis in range(3):
        for side in range(2):
            depth, normals = seen.cast(axis, side)
            true_depth, true_normals = expected.cast(axis, side)
            mask, true_mask = np.isfinite(depth), np.isfinite(true_depth)
            both = mask & true_mask
            assert true_mask.sum() > 100
            assert both.sum() / (mask | true_mask).sum() >= SMALLEST_OVERLAP
            assert np.median(np.abs(depth[both] - true_depth[both])) <= LARGEST_ERROR
            assert np.mean((normals * true_normals)[both].sum(axis=1) > 0) >= 0.99


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
