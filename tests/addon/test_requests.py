"""What the engine is asked for, by the choices of a scene."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest


@pytest.fixture(scope="module")
def requests(parts):
    return parts("requests")


@pytest.fixture(scope="module")
def choices(requests):
    values = dict.fromkeys((field for field in requests.Choices.__dataclass_fields__), "")
    numbers = {
        "seed": 7,
        "truncation": 0.70000001,
        "previews": 4,
        "faces": 30000,
        "crop": 1.0,
        "depth_cut": 1.0,
        "quads": 0,
        "lods": 1,
        "collision": 0,
        "depth_ratio": 0.0,
        "fov": 0.0,
        "border": 0.2,
    }
    words = {"quality": "STANDARD", "color": "texture", "texture_size": "512", "arrange": "GRID", "size": 2.0}
    return requests.Choices(**{**values, **numbers, **words, "keep_largest": True, "place_at": "CURSOR"})


def test_mesh_request_is_everything_that_makes_the_mesh(requests, choices, parts):
    (mug,) = parts("class_search").known_classes([{"name": "coffee mug", "wnid": "n03063599"}])
    assert requests.mesh_request(requests.ObjectSpec(mug, 7), choices) == {
        **{
            "class": "n03063599",
            "seed": 7,
            "truncation": 0.7,
            "grid": 128,
            "faces": 30000,
            "color": "texture",
        },
        **{"texture_size": 512, "keep": 1, "crop_depth": None, "formats": ["npz"]},
    }
    assert requests.mesh_request(requests.ObjectSpec(None, 7), choices)["class"] is None


@pytest.mark.parametrize(
    ("changes", "field", "value"),
    [
        ({"faces": 0}, "faces", 0),
        ({"faces": 1}, "faces", 4),
        ({"keep_largest": False}, "keep", "auto"),
        ({"texture_size": "auto"}, "texture_size", "auto"),
        ({"depth_cut": 0.25}, "crop_depth", 0.25),
        ({"quality": "HIGH"}, "grid", 256),
    ],
)
def test_surface_follows_the_choices(requests, choices, changes, field, value):
    assert requests.surface_request(replace(choices, **changes))[field] == value


@pytest.mark.parametrize(
    ("files", "changes", "fields"),
    [
        ({"depth": "d"}, {}, {"kind": "depth", "border": 0.2}),
        ({"depth": "d"}, {"depth_kind": "METRIC", "depth_ratio": 2.0}, {"kind": "metric", "border": 0.2}),
        ({"depth": "d"}, {"depth_ratio": 1.0}, {"kind": "depth", "ratio": 1.001, "border": 0.2}),
        ({"depth": "d", "mask": "m"}, {}, {"kind": "depth"}),
        ({"depth_model": "m"}, {"depth_ratio": 2.5}, {"ratio": 2.5, "border": 0.2}),
        ({"depth_model": "m"}, {"depth_kind": "METRIC"}, {"border": 0.2}),
        ({"depth_model": "m"}, {"fov": math.pi / 6}, {"fov": 30.0, "border": 0.2}),
    ],
)
def test_a_relief_is_asked_for_with_what_fits_together(requests, choices, files, changes, fields):
    chosen = replace(choices, **{"depth_kind": "DEPTH"} | changes)
    always = {**files, "grid": 256, "formats": ["npz"]}
    assert requests.lift_request(files, chosen) == always | fields


def test_requests_know_their_operation(parts):
    op_of = parts("recipe").op_of
    assert op_of({"class": "n03063599", "seed": 1}) == "mesh"
    assert op_of({"picture": "a.png", "tokenizer": "box"}) == "picture"
    assert op_of({"picture": "a.png", "depth": "a.npy"}) == "lift"


def test_finer_doubles_up_to_the_finest(requests):
    request = {"grid": 256, "faces": 0, "texture_size": 8192, "seed": 3}
    assert requests.finer(request) == {"grid": 512, "faces": 0, "texture_size": 8192, "seed": 3}
    assert requests.finer(request | {"texture_size": "auto"})["texture_size"] == "auto"
    assert requests.finer({**request, "grid": 1500})["grid"] == 2048
    assert requests.finer({"grid": 512, "picture": "p"}) == {"grid": 1024, "picture": "p"}
    with pytest.raises(requests.RequestError, match="finest"):
        requests.finer({**request, "grid": 2048})


def test_objects_stand_in_rows_grids_or_one_place(requests, choices):
    def places(arrange: str) -> list[tuple[float, float, float]]:
        chosen = replace(choices, arrange=arrange)
        return [requests.location_of(chosen, (1.0, 2.0, 3.0), number, 4) for number in range(4)]

    assert places("STACK") == 4 * [(1.0, 2.0, 3.0)]
    assert [x for x, _, _ in places("ROW")] == [-2.75, -0.25, 2.25, 4.75]
    assert places("GRID") == [(-0.25, 2, 3), (2.25, 2, 3), (-0.25, 4.5, 3), (2.25, 4.5, 3)]
    origin = replace(choices, place_at="ORIGIN", arrange="STACK")
    assert requests.location_of(origin, (1.0, 2.0, 3.0), 0, 1) == (0.0, 0.0, 0.0)


def test_batches_name_their_classes_or_take_the_one(requests, choices):
    chosen = replace(choices, class_name="teapot", batch_classes=" , ")
    assert chosen.class_names == ["teapot"]
    assert replace(chosen, batch_classes="mug,, lamp").class_names == ["mug", " lamp"]


def test_estimate_takes_what_was_measured_or_scales_it(parts):
    timings, facts = parts("timings"), parts("engine.protocol").EngineFacts("cpu", snapshot={"sha256": "ab"})
    measured = {"ab/cpu/64/texture": 2.0, "ab/cpu/128/texture": 5.0, "cd/cpu/256/texture": 99.0}
    assert timings.estimate(measured, facts, 128, "texture") == timings.Estimate(5.0, True)
    assert timings.estimate(measured, facts, 256, "texture") == timings.Estimate(20.0, False)
    assert timings.estimate(measured, facts, 32, "vertex") == timings.Estimate(1.5, False)
    assert timings.estimate({}, facts, 128, "texture") is None


def test_previews_look_from_where_mugs_show_their_handle(requests, choices):
    assert requests.preview_request(None, [1], choices)["yaw"] == pytest.approx(0.785, abs=1e-3)
    assert requests.asset_preview_request(requests.ObjectSpec(None, 1), choices)["yaw"] > 0


@pytest.mark.parametrize(
    ("viewer", "front"),
    [
        ((0.686, -0.727), "POS_X"),  # the view that Blender starts with
        ((0.0, -1.0), "NEG_Y"),  # numpad 1, 3 and the opposite ones: the front itself
        ((1.0, 0.0), "POS_X"),
        ((0.0, 1.0), "POS_Y"),
        ((-1.0, 0.0), "NEG_X"),
        ((-0.7, -0.7), "NEG_Y"),
        ((0.001, 0.01), "NEG_Y"),  # from above
        (None, "NEG_Y"),  # scripts
    ],
)
def test_front_is_turned_to_the_view_by_quarters(requests, choices, viewer, front):
    assert requests.towards(replace(choices, front="VIEW"), viewer).front == front
    assert requests.towards(replace(choices, front="POS_Y"), viewer).front == "POS_Y"


def test_more_than_a_mesh_is_asked_for_only_if_it_is_wanted(requests, choices):
    spec = requests.ObjectSpec(None, 7)
    usual = requests.mesh_request(spec, choices)
    assert not usual.keys() & {"quads", "lods", "collision", "size"}
    wanted = replace(choices, quads=20, lods=3, collision=16, real_size=True)
    more = {"quads": 50, "lods": 3, "collision": 16, "size": "real"}
    assert requests.mesh_request(spec, wanted) == usual | more
    cropped = requests.mesh_request(spec, replace(wanted, crop=0.9))
    assert cropped == usual | {"quads": 50, "size": "real"}
    assert not requests.picture_request({}, wanted).keys() & more.keys()
    request = {"grid": 64, "faces": 100, "texture_size": 64, "quads": 150_000}
    assert requests.finer(request)["quads"] == 200_000


def test_real_sizes_say_how_far_apart_objects_stand(requests, choices, parts):
    known = {entry.name: entry for entry in parts("class_search").imagenet_classes()}
    specs = [requests.ObjectSpec(known[name], 1) for name in ("goldfish", "school bus")]
    assert requests.in_metres(specs, choices).size == choices.size
    real = replace(choices, real_size=True)
    assert requests.in_metres(specs, real).size == known["school bus"].metres > 5
    assert requests.in_metres(specs, real, 100).size == 100 * known["school bus"].metres
    with pytest.raises(requests.RequestError, match="not known"):
        requests.in_metres([*specs, requests.ObjectSpec(None, 1)], real)


@pytest.mark.parametrize(
    ("export", "fields"),
    [
        (("obj",), {"formats": ["obj"]}),
        (("glb", "meshopt", 30.0), {"formats": ["glb"], "compress": "meshopt"}),
        (("obj", "meshopt", 30.0, 500), {"formats": ["obj"], "max_size": 500_000}),
        (("stl", "meshopt", 30.00049), {"formats": ["stl"], "print_height": 30.0}),
    ],
)
def test_exports_say_no_more_than_concerns_them(requests, export, fields):
    assert requests.Export(*export).request() == fields


@pytest.mark.parametrize(
    ("name", "kind", "stem"),
    [
        ("mug.glb", "glb", "mug"),
        ("MUG.GLB", "glb", "MUG"),
        ("mug", "glb", "mug"),
        ("mug.v2", "glb", "mug.v2"),
        ("gp3d_Kätzchen_1_relief.glb", "glb", "gp3d_Kätzchen_1_relief"),  # as the file browser proposes it
        ("猫 (1).obj", "obj", "猫 (1)"),
    ],
)
def test_exported_files_are_called_as_people_call_them(requests, parts, name, kind, stem):
    assert requests.exported_stem(name, kind) == stem


@pytest.mark.parametrize(
    ("name", "said"),
    [("mug.fbx", "writes no .fbx"), (".glb", "a name of"), ("a?.glb", "a name of"), ("a/b.glb", "a name of")],
)
def test_exported_files_are_not_called_what_no_file_is(requests, parts, name, said):
    with pytest.raises(parts("engine.errors").RequestError, match=said):
        requests.exported_stem(name, "glb")
