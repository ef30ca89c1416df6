"""The independent check: it agrees with the renderer, and it notices what is not true."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

from synthetic.check import main
from synthetic.checks.comparison import pixel_rays
from synthetic.checks.fusion import chamfer
from synthetic.checks.surface import SurfaceError, read_surface
from tests.synthetic import small_library as library

SIDE = 96
KEY = "03797390/pot"


def pot() -> trimesh.Trimesh:
    """A shape without symmetry: a ball with a box through its side."""
    return trimesh.util.concatenate([library.ball((-0.05, 0, 0), 0.25), library.box((0.22, 0.1, 0.05), 0.2)])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A library and a data set of it, seen from everywhere."""
    root = tmp_path_factory.mktemp("check")
    library.write_facts(root / "models")
    library.write_model(root / "models", KEY, [library.Part(pot())])
    run = library.run(
        root / "scratch",
        "synthetic.render",
        root / "models",
        root / "out",
        "--preset",
        "sphere",
        "--views",
        24,
        "--resolution",
        SIDE,
        "--samples",
        1,
        "--normals",
    )
    assert run.returncode == 0, run.stderr
    return root / "models", root / "out"


def check(models: Path, out: Path, report: Path) -> tuple[int, dict[str, float]]:
    status = main([str(out), "--models", str(models), "--out", str(report)])
    return status, json.loads((report / "report.json").read_text())["summary"]


@pytest.mark.blender
@pytest.mark.slow
def test_truth_is_found_true(made: tuple[Path, Path], tmp_path: Path) -> None:
    status, summary = check(*made, tmp_path)
    assert status == 0
    assert summary["views"] == 24
    assert summary["median"] <= 1e-5
    assert summary["p999"] <= 1e-4
    assert summary["iou"] >= 0.999
    assert summary["normal_cosine"] > 0.9999
    assert summary["reprojection_p999"] < 1e-4
    assert Image.open(tmp_path / "errors.png").size == (4 * SIDE, 8 * SIDE)


@pytest.mark.blender
@pytest.mark.slow
@pytest.mark.parametrize("lie", ["distance for depth", "shifted camera", "mirrored", "half a pixel"])
def test_lies_are_found(made: tuple[Path, Path], tmp_path: Path, lie: str) -> None:
    models, out = made[0], tmp_path / "out"
    shutil.copytree(made[1], out)
    cameras = json.loads((out / "cameras.json").read_text())
    for name, view in cameras["views"].items():
        path = out / name.replace(".png", "_geometry.npz")
        with np.load(path, allow_pickle=False) as arrays:
            content = dict(arrays)
        if lie == "distance for depth":
            content["z_depth"] = content["ray_distance"]
        elif lie == "mirrored":
            content = {key: value[:, ::-1] for key, value in content.items()}
        elif lie == "shifted camera":
            view["cam2world"][0][3] += 2e-3
        else:
            view["intrinsics"][0][2] += 0.5
        np.savez(path, **content)
    (out / "cameras.json").write_text(json.dumps(cameras))
    assert check(models, out, tmp_path / "report")[0] == 1


@pytest.mark.blender
@pytest.mark.slow
def test_changed_model_is_not_compared(
    made: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(made[0], tmp_path / "models")
    with (tmp_path / "models" / KEY / "models/model_normalized.obj").open("a") as file:
        file.write("\n")
    assert main([str(made[1]), "--models", str(tmp_path / "models"), "--out", str(tmp_path / "report")]) == 2
    assert "has changed since it was rendered" in capsys.readouterr().err


@pytest.mark.blender
@pytest.mark.slow
def test_depth_from_everywhere_fuses_back_to_the_model(
    made: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(made[1]), "--models", str(made[0]), "--out", str(tmp_path), "--fuse"]) == 0
    assert "fused mug" in capsys.readouterr().out
    found = json.loads((tmp_path / "report.json").read_text())["chamfer"]["mug"]
    assert found["fused_to_model"] < 0.004  # half a voxel
    assert found["model_to_fused"] < 0.012  # the box reaches into the ball, where nobody sees it
    views = json.loads((made[1] / "cameras.json").read_text())["views"]
    turned = {
        name: {**view, "cam2world": (np.diag([-1.0, 1, -1, 1]) @ view["cam2world"]).tolist()}
        for name, view in views.items()
    }
    surface = read_surface(made[0] / KEY / "models/model_normalized.obj", np.diag([-1.0, 1, -1, 1]))
    wrong = chamfer(made[1], turned, surface)
    assert wrong is not None
    assert wrong.model_to_fused > 0.03


def test_rays_of_a_known_camera() -> None:
    record = {"intrinsics": [[10.0, 0, 2], [0, 10, 2], [0, 0, 1]], "cam2world": np.eye(4).tolist()}
    origin, directions = pixel_rays(record, 5)
    assert origin.tolist() == [0, 0, 0]
    np.testing.assert_allclose(directions[2, 2], [0, 0, -1])
    np.testing.assert_allclose(directions[0, 4], [0.2, 0.2, -1])


def test_surface_leaves_out_transparent_parts_and_counts_backwards(tmp_path: Path) -> None:
    (tmp_path / "m.mtl").write_text("newmtl glass\nd 0.5\nnewmtl wall\nd 1\nnewmtl thin\nTr 0.7\n")
    (tmp_path / "a.obj").write_text(
        "mtllib m.mtl\nv 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nusemtl glass\nf 1 2 3\n"
        "usemtl thin\nf 1 2 3\nusemtl wall\nf -4 -3 -2 -1\n"
    )
    surface = read_surface(tmp_path / "a.obj", np.diag([2.0, 2, 2, 1]))
    assert surface.triangles.tolist() == [[0, 1, 2], [0, 2, 3]]
    assert surface.vertices.max() == 2.0
    (tmp_path / "b.obj").write_text("v 0 0 0\n")
    with pytest.raises(SurfaceError, match="no opaque faces"):
        read_surface(tmp_path / "b.obj", np.eye(4))
