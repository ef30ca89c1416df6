"""Pictures of evaluated meshes, and requests that are refused before anything is computed or written."""

import io
import json
from contextlib import redirect_stdout
from dataclasses import replace

import numpy as np
import pytest
import trimesh

from gp3d_core.cli.main import main
from gp3d_core.datasets.dataset import Dataset
from gp3d_core.errors import GP3DError
from gp3d_core.evaluation.report.folder import EvaluationFolder
from gp3d_core.evaluation.report.mesh_sheet import picture
from gp3d_core.evaluation.run import EvaluationOptions, check_fit
from gp3d_core.evaluation.samples import EvaluationError
from gp3d_core.evaluation.shapes.library import mesh_files
from gp3d_core.meshing.files.reading import load_mesh
from gp3d_core.meshing.mesh import Mesh, MeshError
from gp3d_core.snapshots.snapshot import load_snapshot
from tests.core.cli.test_cli import snapshot  # noqa: F401  (a fixture)
from tests.support.tiny_dataset import CLASSES, write_dataset
from tests.support.truth_dataset import radii, write_models


def mesh_of(shape: trimesh.Trimesh) -> Mesh:
    return Mesh(shape.vertices.astype(np.float32), shape.faces.astype(np.int32))


def test_meshes_are_drawn_upright_lit_and_as_large_as_fits():
    cone = trimesh.creation.cone(radius=5.0, height=30.0, sections=32)  # along z
    cone.vertices = cone.vertices[:, [1, 2, 0]] + np.array([50.0, -3.0, 7.0])
    drawn = picture(mesh_of(cone))
    body = (drawn < 255).any(axis=-1)
    rows = np.flatnonzero(body.any(axis=1))
    assert rows[0] < 16  # of 128, seen 21° from above
    assert rows[-1] > 112
    widths = body.sum(axis=1)
    assert 3 * widths[rows[9]] < widths[rows[-10]]  # the tip is above
    ball = picture(mesh_of(trimesh.creation.icosphere(subdivisions=3)))
    columns = np.flatnonzero((ball < 255).any(axis=(0, 2)))
    assert columns[0] <= 2
    assert columns[-1] >= 125
    assert ball[40, 40].mean() > ball[88, 88].mean() + 40  # light from the upper left


def test_a_wrong_request_is_refused_before_a_folder_is_there(snapshot, tmp_path, capsys):  # noqa: F811
    library = write_models(tmp_path / "models")
    out, folder = tmp_path / "out", tmp_path / "meshes"
    folder.mkdir()
    for name in ("0.ply", "1.ply"):
        trimesh.creation.icosphere(subdivisions=1).export(folder / name)
    nowhere, meshes = str(tmp_path / "nowhere"), ["evaluate", "--out", str(out), "--meshes"]
    cases = [
        ([*meshes, str(folder), "--truth", nowhere], "nowhere; expected a file or folder"),
        ([*meshes, nowhere, "--truth", str(library)], "nowhere; expected a file or folder"),
        (
            [*meshes, str(folder), "--truth", str(library), "--pointnet", nowhere],
            "nowhere; expected a file or folder",
        ),
    ]
    for arguments, message in cases:
        assert main(arguments) == 2
        [line] = capsys.readouterr().err.strip().splitlines()
        assert message in line
        assert not out.exists()
    model, data = load_snapshot(snapshot), Dataset(write_dataset(tmp_path / "data", images=4))
    for request, message in (
        (
            EvaluationOptions(metrics=("kid", "fpd"), truth=library, pointnet=tmp_path / "nowhere"),
            "no weights at",
        ),
        (EvaluationOptions(metrics=("kid", "shapes"), truth=tmp_path / "nowhere"), "no such folder"),
        (EvaluationOptions(metrics=("kid", "geometry")), "data has no (cameras|manifest).json"),
    ):
        with pytest.raises(GP3DError, match=message):
            check_fit(model, data, replace(request, samples=4))


def test_meshes_and_snapshots_do_not_share_a_folder(tmp_path):
    EvaluationFolder(tmp_path).claim({"kind": "meshes", "seed": 0})
    with pytest.raises(EvaluationError, match="evaluation of meshes, asked for is one of a snapshot"):
        EvaluationFolder(tmp_path).claim({"cameras": "prior", "seed": 0})


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """The folder of `gp3d evaluate --meshes` of exact models and a needle without area, and its output."""
    root = tmp_path_factory.mktemp("evaluated")
    library = write_models(root / "models")
    for label, record in enumerate(CLASSES):
        for k in range(3):
            path = root / "meshes" / record["name"] / f"{k}.ply"
            path.parent.mkdir(parents=True, exist_ok=True)
            ball = trimesh.creation.icosphere(subdivisions=2)
            trimesh.Trimesh(ball.vertices * radii(label, k), ball.faces).export(path)
    needle = trimesh.Trimesh([[0, 0, 0], [1, 0, 0], [2, 0, 0]], [[0, 1, 2]], process=False)
    needle.export(root / "meshes" / CLASSES[0]["name"] / "0.ply")
    arguments = ["--meshes", root / "meshes", "--truth", library, "--out", root / "out", "--shapes", 6]
    options = ["--f-score-at", "0.03,0.5", "--dcd-alpha", 3, "--table", "latex"]
    with redirect_stdout(io.StringIO()) as printed:
        assert main(["evaluate", *map(str, [*arguments, *options])]) == 0
    return root / "out", printed.getvalue()


def test_every_mesh_is_measured_against_its_nearest_model(evaluated):
    out, _ = evaluated
    scores = {score.metric: score for score in EvaluationFolder(out).scores()}
    for name, low, high in (("normal_concordance", 0.98, 1), ("f-score@0.03", 0.6, 0.98), ("dcd", 0.2, 0.5)):
        facts = scores[name].facts
        assert low <= scores[name].value <= high, (name, scores[name].value)
        assert abs(facts["copy"] - (name != "dcd")) < abs(
            scores[name].value - (name != "dcd")
        )  # none is better
        assert facts["floor"] == pytest.approx(scores[name].value, abs=0.25)
        assert (facts["without_faces"], scores[name].n) == (1, 5)
        assert set(facts["per_class"]) == {record["name"] for record in CLASSES}
    assert scores["f-score@0.5"].value == 1
    assert scores["dcd"].facts["alpha"] == 3
    lines = [json.loads(line) for line in (out / "meshes.jsonl").read_text().splitlines()]
    [empty] = [line for line in lines if line["mesh"].endswith(f"{CLASSES[0]['name']}/0.ply")]
    assert "dcd" not in empty
    assert all("dcd" in line and "model" in line["nearest"] for line in lines if line is not empty)


def test_the_tables_are_printed_and_written(evaluated):
    out, printed = evaluated
    assert printed == (out / "table.tex").read_text()
    assert printed.count(r"\\") == 4 + len(CLASSES)  # head, mean, real models, perfect copy, classes
    [head] = [line for line in printed.splitlines() if line.startswith(" & ")]
    assert r"normal concordance $\uparrow$" in head
    assert r"dcd $\downarrow$" in head
    rows = [line for line in (out / "table.md").read_text().splitlines() if line.startswith("|")]
    assert len({row.count("|") for row in rows}) == 1
    assert len(rows) == 5 + len(CLASSES)


def test_wrong_distances_are_refused(tmp_path, capsys):
    start = ["evaluate", "--out", str(tmp_path / "out"), "--meshes", str(tmp_path), "--truth", str(tmp_path)]
    for extra, message in (
        (["--f-score-at", "0.1,x"], "--f-score-at: expects a number from 1e-06 to 2"),
        (["--f-score-at", "0"], "found '0'"),
        (["--f-score-at", ",".join(f"{k / 100}" for k in range(1, 20))], "at most 10 distances, found 19"),
        (["--dcd-alpha", "nan"], "--dcd-alpha: expects a number"),
        (["--table", "html"], "--table"),
    ):
        assert main([*start, *extra]) == 2
        [line] = capsys.readouterr().err.strip().splitlines()
        assert message in line
        assert not (tmp_path / "out").exists()


def test_meshes_of_formats_that_are_not_read_are_named(tmp_path, capsys):
    library, meshes = write_models(tmp_path / "models"), tmp_path / "meshes"
    name = CLASSES[0]["name"]
    (meshes / name).mkdir(parents=True)
    for file in ("a.fbx", "b.USDZ", "b.stl"):
        (meshes / name / file).write_bytes(b"another format")
    start = ["evaluate", "--meshes", str(meshes), "--truth", str(library), "--shapes", "2", "--out"]
    assert main([*start, str(tmp_path / "none")]) == 2
    [line] = capsys.readouterr().err.strip().splitlines()
    assert line.endswith(
        f"meshes: 3 files are left out, such as {name}/a.fbx; .obj, .glb, .ply, .npz are read, and Blender saves most "
        "others as .glb"
    )
    assert not (tmp_path / "none").exists()
    for stem in "bc":  # b.stl and b.USDZ are b.ply in other formats
        trimesh.creation.icosphere(subdivisions=2).export(meshes / name / f"{stem}.ply")
    assert main([*start, str(tmp_path / "out")]) == 0
    assert f"meshes: 1 files are left out, such as {name}/a.fbx; " in capsys.readouterr().err
    with pytest.raises(
        MeshError, match=r"expected a name ending in .*, found '.fbx'; Blender saves most others as"
    ):
        load_mesh(meshes / name / "a.fbx")


def test_names_of_generated_meshes_say_their_class(tmp_path):
    names = ("coffee_mug-0003", "coffee_mug-0003-e8cd4f9a", "t-shirt-0001-00000000")
    for name in names:
        (tmp_path / f"{name}.ply").touch()
    found = {path.stem: classes[-1] for path, classes in mesh_files(tmp_path)}
    assert found == dict(zip(names, ("coffee mug", "coffee mug", "t-shirt"), strict=True))
    (tmp_path / "scan-e8cd4f9a.ply").touch()
    assert {classes for _, classes in mesh_files(tmp_path)} == {()}
