# ruff: noqa: F811
"""The worker's `trust`: values for the very vertices that `mesh` makes, in their place; errors, and pictures."""

from pathlib import Path

import numpy as np
import pytest

from gp3d_core.generation.meshes import make_asset
from gp3d_core.generation.objects import ObjectSpec
from gp3d_core.generation.sampling import generate, open_snapshot
from gp3d_core.meshing.options import MeshOptions
from gp3d_core.pretrained import pretrained_path
from gp3d_core.worker.job_queue import Job
from gp3d_core.worker.model_set import ModelSet
from gp3d_core.worker.protocol import Problem, Request, request_of
from gp3d_core.worker.server import Worker
from tests.support.serving import desk_and_events, shared, snapshot  # noqa: F401

OPTIONS = {"class": "coffee mug", "seed": 3, "grid": 48, "faces": 0, "color": "none"}


@pytest.fixture(scope="module")
def examined(tmp_path_factory):
    """The result of `trust` by the model that comes along, with a size and a pivot, and that result's file."""
    folder = tmp_path_factory.mktemp("trust")
    models = ModelSet(pretrained_path(), "cpu", 2**28, lambda: None)
    fields = {**OPTIONS, "size": 0.5, "pivot": "bottom", "dir": str(folder), "stem": "mug"}
    with desk_and_events() as (desk, events):
        worker = Worker(desk, "cpu", 2**28, models)
        desk.accept(Job(request_of("t", "trust", fields), "t"))
        worker.run(desk.take(1))
    [result] = [event for event in events if event["event"] in ("result", "error")]
    return result, folder


@pytest.mark.slow
def test_values_belong_to_the_vertices_of_the_mesh(examined):
    result, folder = examined
    assert result["event"] == "result", result
    assert Path(result["file"]) == folder / "mug.trust.npz"
    with np.load(result["file"], allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    model = open_snapshot(None, "cpu")
    record = next(record for record in model.classes if record["name"] == "coffee mug")
    options = MeshOptions(grid=48, faces=None, color="none", size=0.5, pivot="bottom")
    asset, _ = make_asset(model, generate(model, ObjectSpec(record, record["label"], 3)), options)
    np.testing.assert_array_equal(arrays["vertices"], asset.mesh.vertices)
    assert (str(arrays["format"]), int(arrays["version"])) == ("gp3d-trust", 1)
    count = len(asset.mesh.vertices)
    for name, shape in (
        ("supervision", (count,)),
        ("disagreement", (count,)),
        ("supervision_colors", (count, 3)),
        ("disagreement_colors", (count, 3)),
    ):
        assert arrays[name].shape == shape
    low = arrays["vertices"][:, 1] < 0.01  # the foot, which the prior's cameras above do not see
    assert (arrays["supervision"][low] == 0).mean() > 0.5
    assert arrays["supervision"][~low].mean() > 0.5
    assert set(result["facts"]) == {
        "never_seen", "well_supervised", "supervision", "disagreement", "disagreement_95", "thickness", "thin",
        "thin_parts_kept", "watertight",
    }  # fmt: skip
    assert result["facts"]["watertight"]
    assert list(result["stages"]) == [
        "planes",
        "density",
        "surface",
        "supervision",
        "disagreement",
        "thickness",
        "write",
    ]
    assert [path.name for path in folder.iterdir()] == ["mug.trust.npz"]


def test_requests_that_cannot_be_are_refused_in_one_line():
    for fields, message in (
        ({"dir": "/x"}, "the field seed is missing"),
        ({**OPTIONS, "dir": "/x", "formats": ["npz"]}, "unknown field"),
        ({**OPTIONS, "dir": "x"}, "absolute path"),
    ):
        with pytest.raises(Problem, match=message):
            request_of("1", "trust", fields)
    with pytest.raises(Problem, match="the field picture is missing"):
        request_of("1", "trust_picture", {"dir": "/x"})
    assert isinstance(
        request_of("1", "trust_picture", {"dir": "/x", "picture": "p", "tokenizer": "t"}), Request
    )


@pytest.mark.slow
def test_a_class_that_the_model_lacks_is_one_error(shared, tmp_path):
    found = shared.ask("trust", **{**OPTIONS, "class": "zeppelin"}, dir=str(tmp_path))
    assert (found["event"], found["code"]) == ("error", "E_CLASS")
    assert not list(tmp_path.iterdir())
