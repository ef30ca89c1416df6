"""Reliefs against closed forms: the identity, homographies of planes, what a strip may show, what files hold."""

from __future__ import annotations

import json
import math
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from gp3d_core.cli.main import main
from gp3d_core.datasets.decoding import PictureError
from gp3d_core.lifting.distances import Distances, distances_of_file, usual_ratio
from gp3d_core.lifting.edges import cut, sharpen
from gp3d_core.lifting.photograph import USUAL_FOV, Photograph, exif_fov, read_photograph
from gp3d_core.lifting.relief import lift
from gp3d_core.lifting.views import GREY, view

HEIGHT, WIDTH = 48, 64
FOV = 50.0
HALF = math.tan(math.radians(FOV) / 2)  # of the longer side, at depth 1


def noise(seed: int = 0) -> NDArray[Any]:
    return np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)


def on_plane() -> NDArray[Any]:
    """x and y of pixels' middles at depth 1, [H,W,2]."""
    x = (2 * (np.arange(WIDTH) + 0.5) - WIDTH) / WIDTH * HALF
    y = -(2 * (np.arange(HEIGHT) + 0.5) - HEIGHT) / WIDTH * HALF
    return np.stack(np.meshgrid(x, y), axis=-1)


def square_in_front() -> tuple[NDArray[Any], NDArray[Any]]:
    """A wall of blues and greens without red, and a red square half as far; and the depths of both."""
    rgb = noise()
    rgb[..., 0] = 0
    t = np.full((HEIGHT, WIDTH), 2.0)
    rgb[16:30, 24:40], t[16:30, 24:40] = (255, 0, 0), 1.0
    return rgb, t


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    rgb, t = square_in_front()
    Image.fromarray(rgb).save(tmp_path / "photo.png")
    np.save(tmp_path / "depth.npy", t)
    return tmp_path / "photo.png", tmp_path / "depth.npy"


@pytest.mark.parametrize("size", [(48, 64), (48, 63), (47, 64), (45, 31)])
def test_the_identity_view_is_the_photograph(size: tuple[int, int]) -> None:
    rgb, t = (part[: size[0], : size[1]] for part in square_in_front())
    t = t + 0.2 * np.random.default_rng(1).random(t.shape)  # a rough surface, torn in places
    seen = view(lift(Photograph(rgb, FOV, ""), Distances(t, False, 0)))
    assert np.abs(seen.rgb.astype(float) - rgb).mean() < 1
    assert seen.holes == 0


@pytest.mark.parametrize("turn", [(12.0, 0.0), (-9.0, 6.0)])
def test_a_slanted_plane_gives_its_homography(turn: tuple[float, float]) -> None:
    """The plane a·X + b·Y + Z' = c of depths Z' is affine in inverse depth; the colour is its place in the picture."""
    places = on_plane()
    slope = np.array([0.4, -0.3])
    t = 2.0 / (1 + places @ slope)
    ramp = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    ramp[..., 0], ramp[..., 1] = np.arange(WIDTH) * 4, (np.arange(HEIGHT) * 5)[:, None]
    seen = view(lift(Photograph(ramp, FOV, ""), Distances(t, True, 0)), *turn)
    yaw, pitch = map(math.radians, turn)
    pivot = np.median(t)
    # the camera's axes, and its place, moved about the pivot in front of the first camera at the origin
    back = np.array([-math.cos(pitch) * math.sin(yaw), math.sin(pitch), math.cos(pitch) * math.cos(yaw)])
    right = np.array([math.cos(yaw), 0, math.sin(yaw)])
    axes = np.stack([right, np.cross(back, right), back])
    rays = np.dstack([places, -np.ones((HEIGHT, WIDTH))]) @ axes
    start = np.array([0, 0, -pivot]) + pivot * back
    # on the plane: slope · (x, y) − z = 2
    normal = np.array([*slope, -1.0])
    point = start + rays * ((2.0 - start @ normal) / (rays @ normal))[..., None]
    column = (point[..., 0] / -point[..., 2] / HALF + 1) * WIDTH / 2 - 0.5
    row = (HEIGHT - point[..., 1] / -point[..., 2] / HALF * WIDTH) / 2 - 0.5
    inside = (column > 1) & (column < WIDTH - 2) & (row > 1) & (row < HEIGHT - 2)
    assert inside.mean() > 0.6
    assert np.abs(seen.rgb[..., 0] - column * 4)[inside].max() < 1.2  # 0.3 of a pixel
    assert np.abs(seen.rgb[..., 1] - row * 5)[inside].max() < 1.5


@pytest.mark.parametrize("yaw", [-20.0, 15.0])
def test_revealed_strips_have_no_near_color(yaw: float) -> None:
    rgb, t = square_in_front()
    seen = view(lift(Photograph(rgb, FOV, ""), Distances(t, False, 0), border=0), yaw)
    assert seen.filled.sum() > 40
    assert seen.rgb[seen.filled][:, 0].max() == 0
    wall = rgb[t == 2.0].astype(float)
    assert np.abs(seen.rgb[seen.filled].mean(axis=0) - wall.mean(axis=0)).max() < 25


def test_what_is_filled_carries_on_a_flat_wall() -> None:
    rgb, t = square_in_front()
    relief = lift(Photograph(rgb, FOV, ""), Distances(t, True, 0))
    assert relief.filled is not None
    assert relief.distance == 2.0
    np.testing.assert_allclose(relief.filled.vertices[:, 2], 0, atol=1e-4)  # the wall, at the median


def test_the_point_at_median_depth_stays() -> None:
    """On the axis of the camera; its colour is one that no other has."""
    rgb = np.full((65, 65, 3), 90, np.uint8)
    rgb[31:34, 31:34] = (0, 255, 0)
    relief = lift(Photograph(rgb, FOV, ""), Distances(np.full((65, 65), 3.0), True, 0))
    for yaw, pitch in ((25.0, 0.0), (-10.0, 12.0)):
        row, column = np.nonzero(view(relief, yaw, pitch).rgb[..., 1] > 200)
        assert abs(row.mean() - 32) < 0.3
        assert abs(column.mean() - 32) < 0.3


def test_a_border_closes_what_a_turn_would_show() -> None:
    rgb, t = square_in_front()
    photograph, distances = Photograph(rgb, FOV, ""), Distances(t, False, 0)
    bare, bordered = (view(lift(photograph, distances, border=size), 15) for size in (0.0, 0.2))
    assert bare.holes > 0.02
    assert bordered.holes < bare.holes / 4
    assert (bare.rgb[~bare.seen & ~bare.filled] == GREY).all()


def test_ramps_become_steps_and_steps_stay() -> None:
    step = np.zeros((40, 200))
    step[10:30, 80:120] = 1.0
    np.testing.assert_array_equal(sharpen(step), step)
    ramp = np.tile(np.clip((np.arange(200) - 98.0) / 4, 0, 1), (40, 1))
    assert set(np.unique(sharpen(ramp))) == {0.0, 1.0}
    q, links = cut(sharpen(ramp))
    assert (~links.right).sum(axis=1).tolist() == [1] * 40
    assert links.down.all()
    assert len(np.unique(links.components())) == 2
    assert q.shape == ramp.shape


def test_a_slope_is_not_torn() -> None:
    _, links = cut(np.tile(np.linspace(0, 1, 30), (20, 1)))  # steps of 0.034, more than an edge has
    assert links.right.all()


def exif(**tags: float) -> bytes:
    import io

    names = {
        "film": 0xA405,
        "focal": 0x920A,
        "across": 0xA20E,
        "unit": 0xA210,
        "width": 0xA002,
        "height": 0xA003,
    }
    data = Image.Exif()
    data.get_ifd(0x8769).update({names[name]: value for name, value in tags.items()})
    out = io.BytesIO()
    Image.new("RGB", (36, 24)).save(out, "JPEG", exif=data)
    return out.getvalue()


def test_field_of_view_of_exif() -> None:
    full = 2 * math.degrees(math.atan(18 / 50))  # 36 mm wide film, 50 mm lens
    assert exif_fov(exif(film=50), 36, 24) == pytest.approx(full)
    assert exif_fov(exif(film=50), 24, 36) == pytest.approx(full)  # upright
    inch = exif(focal=25.4, across=3600.0, unit=2, width=3600, height=2400)  # a sensor of an inch
    assert exif_fov(inch, 36, 24) == pytest.approx(2 * math.degrees(math.atan(0.5)))
    assert exif_fov(exif(film=50, width=3000, height=3000), 36, 24) is None  # of another picture
    assert exif_fov(exif(film=0), 36, 24) is None
    assert exif_fov(b"no picture", 36, 24) is None


def test_field_of_view_is_assumed_where_nothing_says_it(files: tuple[Path, Path]) -> None:
    assert read_photograph(files[0]).fov == USUAL_FOV == pytest.approx(53.13, abs=0.01)
    assert "assumed" in read_photograph(files[0]).fov_source
    assert read_photograph(files[0], 30).fov == 30


def test_the_usual_relief_is_as_deep_as_the_picture_is_wide() -> None:
    for fov in (5.0, 53.13, 100.0):
        ratio = usual_ratio(fov)
        middle = 2 * ratio / (1 + ratio)
        assert ratio - 1 == pytest.approx(2 * middle * math.tan(math.radians(fov) / 2))


def test_meanings_of_depth_maps(tmp_path: Path) -> None:
    row = np.tile(np.array([0.0, 1, 2, 4]), (3, 1))
    shape = row.shape
    np.savez(tmp_path / "d.npz", depth=row, other=row)
    found = {
        kind: distances_of_file(tmp_path / "d.npz", shape, shape, kind, 3.0)
        for kind in ("depth", "disparity", "metric")
    }
    np.testing.assert_allclose(found["depth"].t[0], [1, 1.5, 2, 3])
    np.testing.assert_allclose(1 / found["disparity"].t[0], [1 / 3, 1 / 2, 2 / 3, 1])
    np.testing.assert_allclose(found["metric"].t[0], [1, 1, 2, 4])
    np.save(tmp_path / "inf.npy", np.where(row == 1, np.inf, row))
    marked = {
        kind: distances_of_file(tmp_path / "inf.npy", shape, shape, kind, 3.0)
        for kind in ("depth", "disparity")
    }
    np.testing.assert_allclose(marked["depth"].t[0], [1, 3, 2, 3])
    assert (marked["depth"].missing, marked["disparity"].missing) == (0, 0.25)  # stereo found no match there
    assert 1 / marked["disparity"].t[0, 1] in (pytest.approx(1 / 3), pytest.approx(2 / 3))  # as beside it
    assert found["metric"].missing == 0.25
    Image.fromarray((row * 1000).astype(np.uint16)).save(tmp_path / "d.png")
    np.testing.assert_allclose(
        distances_of_file(tmp_path / "d.png", shape, shape, "metric", 3.0).t[0], [1, 1, 2, 4]
    )


def test_what_a_number_is_worth_in_metres_depends_on_the_file_and_not_on_its_bits(tmp_path: Path) -> None:
    row = np.tile(np.array([0, 1, 2, 4], np.uint8), (3, 1))
    Image.fromarray(np.stack([row * 10, row], axis=-1), "LA").save(tmp_path / "small.png")
    np.save(tmp_path / "whole.npy", row.astype(np.uint16))
    for name, wanted in (("small.png", [0.01, 0.01, 0.02, 0.04]), ("whole.npy", [1, 1, 2, 4])):
        found = distances_of_file(tmp_path / name, row.shape, row.shape, "metric", 3.0)
        np.testing.assert_allclose(found.t[0], wanted)


def tree_of(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    tree: dict[str, Any] = json.loads(content[20 : 20 + struct.unpack("<I", content[12:16])[0]])
    return tree


def test_the_command_writes_photograph_and_camera(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import trimesh

    out = tmp_path / "made" / "photo.glb"
    photo, depth = map(str, files)
    orbit = ["--orbit", str(tmp_path / "film.gif"), "--frames", "2", "--resolution", "32"]
    assert (
        main(["lift", photo, "--depth", depth, "--kind", "metric", "--fov", "50", "--out", str(out), *orbit])
        == 0
    )
    assert capsys.readouterr().out.split() == [str(out), str(tmp_path / "film.gif")]
    assert Image.open(tmp_path / "film.gif").size == (32, 24)
    tree = tree_of(out)
    lens = tree["cameras"][0]["perspective"]
    assert math.tan(lens["yfov"] / 2) == pytest.approx(HALF * HEIGHT / WIDTH)
    assert lens["aspectRatio"] == pytest.approx(WIDTH / HEIGHT)
    node = next(node for node in tree["nodes"] if "camera" in node)
    assert node["translation"] == [0, 0, 2]
    assert tree["nodes"].index(node) in tree["scenes"][0]["nodes"]
    assert all("KHR_materials_unlit" in material["extensions"] for material in tree["materials"])
    assert tree["scenes"][0]["extras"]["gp3d"]["kind"] == "metric"
    parts = trimesh.load(out).geometry  # another reader
    np.testing.assert_array_equal(
        np.asarray(parts["photo"].visual.material.baseColorTexture), np.asarray(Image.open(photo))
    )
    corner = parts["photo"].vertices.min(axis=0)
    np.testing.assert_allclose(corner, [-2 * HALF, -2 * HALF * HEIGHT / WIDTH, 0], atol=1e-3)


def test_a_film_is_written_as_mp4(files: tuple[Path, Path], tmp_path: Path) -> None:
    imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")
    photo, depth = map(str, files)
    film = tmp_path / "film.mp4"
    wanted = [
        "--orbit",
        str(film),
        "--frames",
        "5",
        "--resolution",
        "64",
        "--out",
        str(tmp_path / "photo.glb"),
    ]
    assert main(["lift", photo, "--depth", depth, *wanted]) == 0
    frames = imageio_ffmpeg.read_frames(str(film))
    facts = next(frames)
    assert tuple(facts["size"]) == (64, 48)
    assert sum(1 for _ in frames) == 5


def test_a_mask_and_a_plain_background_are_known_to_the_command(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    from gp3d_core.networks.tcmonodepth import TCMonoDepth

    white = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    white[16:30, 24:40] = (255, 0, 0)
    Image.fromarray(white).save(tmp_path / "white.png")
    Image.fromarray((white[..., 1] == 0).astype(np.uint8) * 255).save(tmp_path / "mask.png")
    torch.manual_seed(0)
    torch.save(TCMonoDepth().state_dict(), tmp_path / "network.pt")
    named = ["--model", str(tmp_path / "network.pt"), "--mask", str(tmp_path / "mask.png")]
    out = tmp_path / "white.glb"
    assert main(["lift", str(tmp_path / "white.png"), *named, "--out", str(out)]) == 0
    assert "plain background" in capsys.readouterr().err
    extras = tree_of(out)["scenes"][0]["extras"]["gp3d"]
    assert (extras["picture"], extras["depth_model"]) == ("white.png", "TCMonoDepth small")
    assert "mask_sha256" in extras
    assert "border" not in extras
    assert main(["lift", str(files[0]), *named, "--out", str(tmp_path / "other.glb")]) == 0
    assert "plain background" not in capsys.readouterr().err


def bad(name: str, folder: Path) -> Path:
    """A depth map that cannot be used."""
    path = folder / name
    if name == "fifo.npy":
        os.mkfifo(path)
    elif name == "wide.npy":
        np.save(path, np.ones((10, 30)))
    elif name == "turned.npy":
        np.save(path, np.ones((WIDTH, HEIGHT)))
    elif name == "empty.npy":
        np.save(path, np.full((HEIGHT, WIDTH), np.nan))
    elif name == "three.npy":
        np.save(path, np.ones((3, HEIGHT, WIDTH)))
    elif name == "cut.npy":
        np.save(path, np.ones((HEIGHT, WIDTH)))
        path.write_bytes(path.read_bytes()[:-100])
    elif name == "cut.npz":
        path.write_bytes(b"PK\3\4 and no more")
    elif name == "text.png":
        path.write_text("no picture")
    elif name == "grey.tif":
        Image.new("F", (WIDTH, HEIGHT), 1.0).save(path)
    return path


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("none.npy", "expected a file"),
        ("fifo.npy", "expected a file"),
        ("wide.npy", "expected the proportions of the picture, 64x48"),
        ("turned.npy", "turn it upright"),
        ("empty.npy", "0% of its numbers are distances"),
        ("three.npy", r"expected numbers \[H, W\]"),
        ("cut.npy", "cannot be read"),
        ("cut.npz", "cannot be read"),
        ("text.png", "expected a PNG, npy, npz or EXR file"),
        ("grey.tif", "expected a PNG, npy, npz or EXR file"),
    ],
)
def test_depth_maps_that_cannot_be_used_get_a_line(
    name: str, said: str, files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out" / "photo.glb"
    assert main(["lift", str(files[0]), "--depth", str(bad(name, tmp_path)), "--out", str(out)]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert len([line for line in error if line.startswith("gp3d: ")]) == 1
    with pytest.raises(AssertionError, match=said):
        raise AssertionError(error[-1])
    assert not out.parent.exists()


def test_pictures_without_end_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.jpg")
    with pytest.raises(PictureError, match="is no ordinary file"):
        read_photograph(tmp_path / "fifo.jpg")
    with pytest.raises(FileNotFoundError):
        read_photograph(tmp_path / "none.jpg")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "either --depth FILE or --model MODEL"),
        (["--depth", "d.npy", "--model", "m"], "either --depth FILE or --model MODEL"),
        (["--depth", "d.npy", "--kind", "metric", "--ratio", "2"], "metric knows the distances"),
        (["--depth", "d.npy", "--out", "x.obj"], "expects a name in .glb"),
    ],
)
def test_command_lines_that_say_too_little_or_too_much(
    words: list[str], said: str, files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["lift", str(files[0]), "--out", str(tmp_path / "photo.glb"), *words]) == 2
    assert said in capsys.readouterr().err
