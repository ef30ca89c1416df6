"""The independent check: it agrees with the renderer, and it notices what is not true, of shape and of colours."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from PIL import Image

from synthetic.check import main
from synthetic.checks.fusion import chamfer
from synthetic.checks.models import Rendered, staged_truth
from synthetic.checks.rays import RaySurface
from synthetic.layouts.shapenet import load_library
from synthetic.staging.stage import stage_model
from synthetic.staging.surface import StagedModel
from tests.synthetic import small_library as library

SIDE = 96
KEY = "03797390/pot"
PAINTED = "03797390/painted"
FILE = "models/model_normalized.obj"


def pot() -> trimesh.Trimesh:
    """A shape without symmetry: a ball with a box through its side."""
    return trimesh.util.concatenate([library.ball((-0.05, 0, 0), 0.25), library.box((0.22, 0.1, 0.05), 0.2)])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A library and a data set of it, seen from everywhere."""
    root = tmp_path_factory.mktemp("check")
    library.write_facts(root / "models")
    library.write_model(root / "models", KEY, [library.Part(pot())])
    render(root, 24, "--samples", 1, "--normals")
    return root / "models", root / "out"


def render(root: Path, views: int, *options: object) -> None:
    """Renders `root`/models to `root`/out."""
    folders, size = (root / "models", root / "out"), ("--views", views, "--resolution", SIDE)
    run = library.run(
        root / "scratch", "synthetic.render", *folders, "--preset", "sphere", *size, "--workers", 1, *options
    )
    assert run.returncode == 0, run.stderr


def check(models: Path, out: Path, report: Path) -> tuple[int, dict[str, Any]]:
    status = main([str(out), "--models", str(models), "--out", str(report)])
    return status, json.loads((report / "report.json").read_text())


@pytest.mark.blender
@pytest.mark.slow
def test_truth_is_found_true(
    made: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    staged: list[Path] = []

    def counting(path: Path, *arguments: Any) -> StagedModel:
        staged.append(path)
        return stage_model(path, *arguments)

    monkeypatch.setattr("synthetic.checks.models.stage_model", counting)
    status, report = check(*made, tmp_path)
    summary = report["summary"]
    assert status == 0
    assert len(staged) == 2  # for the scores and for the picture, however many views there are
    assert summary["views"] == 24
    assert summary["median"] <= 1e-5
    assert summary["p999"] <= 1e-4
    assert summary["iou"] >= 0.999
    assert summary["normal_cosine"] > 0.9999
    assert summary["reprojection_p999"] < 1e-4
    assert Image.open(tmp_path / "errors.png").size == (6 * SIDE, 8 * SIDE)


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
def test_depth_from_everywhere_fuses_back_to_the_model(
    made: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(made[1]), "--models", str(made[0]), "--out", str(tmp_path), "--fuse"]) == 0
    assert "fused mug" in capsys.readouterr().out
    found = json.loads((tmp_path / "report.json").read_text())["chamfer"]["mug"]
    assert found["fused_to_model"] < 0.004  # half a voxel
    assert found["model_to_fused"] < 0.012  # the box reaches into the ball, where nobody sees it
    rendered = Rendered.read(made[1])
    turn = np.diag([-1.0, 1, -1, 1])
    turned = {
        name: {**view, "cam2world": (turn @ view["cam2world"]).tolist()}
        for name, view in rendered.views.items()
    }
    with staged_truth(rendered, KEY, {model.key: model for model in load_library(made[0])}) as truth:
        surface = RaySurface(truth.surface.positions, truth.surface.triangles)
    wrong = chamfer(made[1], turned, surface)
    assert wrong is not None
    assert wrong.model_to_fused > 0.03


def tiles(pixels: np.ndarray) -> np.ndarray:
    """A texture whose tiles are wide enough to see."""
    return pixels.repeat(16, axis=0).repeat(16, axis=1).astype(np.uint8)


TILES = np.array(
    [
        [[200, 40, 30], [40, 180, 60], [230, 220, 60]],
        [[90, 90, 90], [250, 250, 250], [150, 80, 200]],
        [[40, 200, 210], [190, 130, 70], [30, 60, 190]],
    ]
)


def write_painted(
    root: Path,
    texture: np.ndarray = TILES,
    flip: bool = False,
    vertex_colors: bool = True,
    swap: bool = False,
) -> None:
    """A textured box, a ball of plain red and one of vertex colours, side by side."""
    folder = (root / PAINTED / FILE).parent
    folder.mkdir(parents=True)
    Image.fromarray(tiles(texture)).save(folder / "tiles.png")
    red, white = ("plain", "tiled") if swap else ("tiled", "plain")
    (folder / "model_normalized.mtl").write_text(
        "newmtl tiled\nKd 1 1 1\nmap_Kd tiles.png\nnewmtl plain\nKd 0.6 0.03 0.02\nnewmtl vertices\nKd 1 1 1\n"
    )
    text = ["mtllib model_normalized.mtl"]
    box = trimesh.creation.box((0.3, 0.3, 0.3), trimesh.transformations.translation_matrix((-0.3, 0, 0)))
    parts = [(box, red), (library.ball((0.05, 0.05, 0), 0.14), white)]
    parts.append((library.ball((0.34, 0, 0), 0.14), "vertices"))
    base = 1
    for mesh, name in parts:
        text.append(f"usemtl {name}")
        for index, face in enumerate(mesh.faces):
            normal = np.abs(mesh.face_normals[index])
            across = [axis for axis in range(3) if axis != normal.argmax()]
            uv = mesh.vertices[face][:, across] / 0.3 + [0.5 if across[0] else 1.5, 0.5]
            uv[:, 1] = 1 - uv[:, 1] if flip else uv[:, 1]
            for corner in range(3):
                vertex = mesh.vertices[face[corner]]
                tint = (vertex - mesh.bounds[0]) / 0.3 if vertex_colors and name == "vertices" else []
                text.append("v " + " ".join(f"{value:.6f}" for value in (*(vertex * [-1, 1, -1]), *tint)))
                text.append("vt {:.6f} {:.6f}".format(*uv[corner]))
            text.append("f " + " ".join(f"{base + corner}/{base + corner}" for corner in range(3)))
            base += 3
    (root / PAINTED / FILE).write_text("\n".join(text) + "\n")


MISPAINTED: dict[str, dict[str, Any]] = {
    "texture lost": {"texture": np.full_like(TILES, 204)},
    "sRGB taken for linear": {"texture": 255 * (TILES / 255) ** (1 / 2.2)},
    "linear taken for sRGB": {"texture": 255 * (TILES / 255) ** 2.2},
    "upside down": {"flip": True},
    "vertex colours lost": {"vertex_colors": False},
    "wrong material": {"swap": True},
}


@pytest.fixture(scope="module")
def painted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A library of a painted model and a data set of it."""
    root = tmp_path_factory.mktemp("painted")
    library.write_facts(root / "models")
    write_painted(root / "models")
    render(root, 4, "--albedo")
    return root / "models", root / "out"


def pictures(out: Path) -> Iterator[Path]:
    return (path for path in sorted(out.rglob("*.png")) if not path.name.endswith("_depth.png"))


@pytest.mark.blender
@pytest.mark.slow
def test_right_colours_are_found_right(painted: tuple[Path, Path], tmp_path: Path) -> None:
    status, report = check(*painted, tmp_path)
    summary = report["summary"]
    assert (status, report["broken"]) == (0, [])
    assert summary["chroma"] < 0.05
    assert summary["darker"] < 0.01
    assert summary["black"] == 0
    assert summary["brighter"] < 0.05
    assert abs(summary["light"] - 1) < 0.05
    assert summary["albedo_off"] == 0
    assert summary["albedo_worst"] <= 1
    assert summary["albedo_equal"] > 0.9
    assert report["unchecked_colors"]["pixels"] > 2000
    assert report["unchecked_colors"]["views with too few pixels"] == 0


@pytest.mark.blender
@pytest.mark.slow
@pytest.mark.parametrize("lie", MISPAINTED)
def test_a_model_painted_otherwise_is_found(
    painted: tuple[Path, Path], tmp_path: Path, lie: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another model of the same shape is rendered, and its pictures are put into the data set."""
    library.write_facts(tmp_path / "models")
    write_painted(tmp_path / "models", **MISPAINTED[lie])
    render(tmp_path, 4)
    out = tmp_path / "lie"
    shutil.copytree(painted[1], out)
    for path in pictures(tmp_path / "out"):
        shutil.copy(path, out / path.relative_to(tmp_path / "out"))
    status, report = check(painted[0], out, tmp_path / "report")
    assert status == 1
    assert len(report["broken"]) >= 2
    assert all("of its pixels" in line or "as brightly" in line for line in report["broken"])
    assert "wrong: n" in capsys.readouterr().out


def all_black(code: np.ndarray) -> np.ndarray:
    return np.where(code < 255, 0, code)


def speckled(code: np.ndarray) -> np.ndarray:
    black = np.random.default_rng(0).random(code.shape[:2]) < 0.15
    return np.where(black[..., None] & (code < 255).any(axis=-1, keepdims=True), 0, code)


def grey(code: np.ndarray) -> np.ndarray:
    return np.repeat(code.mean(axis=-1, keepdims=True), 3, axis=-1)


def halved(code: np.ndarray) -> np.ndarray:
    return np.where((code < 255).any(axis=-1, keepdims=True), code * 0.7, code)


@pytest.mark.blender
@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (all_black, "are black"),
        (speckled, "are black"),
        (grey, "another colour"),
        (lambda code: code[..., ::-1], "another colour"),
        (halved, "times as brightly"),
    ],
)
def test_a_changed_picture_is_found(
    painted: tuple[Path, Path], tmp_path: Path, change: Callable[[np.ndarray], np.ndarray], words: str
) -> None:
    """One view of all is changed."""
    out = tmp_path / "out"
    shutil.copytree(painted[1], out)
    path = next(pictures(out))
    with Image.open(path) as picture:
        code = np.asarray(picture)
    Image.fromarray(change(code).astype(np.uint8)).save(path)
    status, report = check(painted[0], out, tmp_path / "report")
    assert status == 1
    assert len(report["broken"]) == 1
    assert path.name in report["broken"][0]
    assert words in report["broken"][0]
    assert path.name in report["views"][0]["view"]


@pytest.mark.blender
@pytest.mark.slow
def test_changed_albedo_is_found(painted: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(painted[1], out)
    path = next(iter(sorted(out.rglob("*_geometry.npz"))))
    with np.load(path, allow_pickle=False) as arrays:
        content = dict(arrays)
    content["albedo"] = np.where(content["albedo"] > 100, content["albedo"] - 3, content["albedo"])
    np.savez(path, **content)
    status, report = check(painted[0], out, tmp_path / "report")
    assert status == 1
    assert "albedo" in report["broken"][0]


@pytest.mark.blender
@pytest.mark.slow
@pytest.mark.parametrize("file", [FILE, "models/tiles.png", "models/model_normalized.mtl"])
def test_changed_model_is_not_compared(
    painted: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], file: str
) -> None:
    shutil.copytree(painted[0], tmp_path / "models")
    path = tmp_path / "models" / PAINTED / file
    if path.suffix == ".png":
        Image.fromarray(tiles(TILES[::-1])).save(path)
    else:
        path.write_text(path.read_text() + "# another\n")
    report = str(tmp_path / "report")
    assert main([str(painted[1]), "--models", str(tmp_path / "models"), "--out", report]) == 2
    said = capsys.readouterr().err
    assert "has changed since it was rendered" in said
    assert path.name in said


@pytest.mark.blender
@pytest.mark.slow
def test_older_and_staged_data_sets(
    painted: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without word of cut-outs the usual treatment counts; a room cannot be checked."""
    out = tmp_path / "out"
    shutil.copytree(painted[1], out)
    index = json.loads((out / "dataset.json").read_text())
    del index["generator"]["settings"]["treatment"]["cutouts"]
    (out / "dataset.json").write_text(json.dumps(index))
    assert check(painted[0], out, tmp_path / "report")[0] == 0
    index["generator"]["settings"]["stage"] = "room"
    (out / "dataset.json").write_text(json.dumps(index))
    assert main([str(out), "--models", str(painted[0]), "--out", str(tmp_path / "report")]) == 2
    assert "only models that stand alone" in capsys.readouterr().err
    (out / "dataset.json").write_text("{")
    assert main([str(out), "--models", str(painted[0]), "--out", str(tmp_path / "report")]) == 2
    assert "is no dataset" in capsys.readouterr().err
