"""Pictures of evaluated meshes, and requests that are refused before anything is computed or written."""

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
from gp3d_core.meshing.mesh import Mesh
from gp3d_core.snapshots.snapshot import load_snapshot
from tests.core.cli.test_cli import snapshot  # noqa: F401  (a fixture)
from tests.support.tiny_dataset import write_dataset
from tests.support.truth_dataset import write_models


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
