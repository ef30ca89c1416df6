"""Stills and films: what is written, that it moves, that it is the same twice, and normals against closed forms."""

import importlib.util
import sys
import types
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image

from gp3d_core.cli.main import main
from gp3d_core.generation.objects import RequestError, object_specs
from gp3d_core.generation.sampling import open_snapshot
from gp3d_core.generation.video import (
    normals_to_uint8,
    rendered_normals,
    surface_normals,
    write_films,
    write_stills,
)
from gp3d_core.rendering.cameras import cam2world, mean_camera, sample_rays
from gp3d_core.rendering.trajectories import points
from gp3d_core.rendering.volume import render
from gp3d_core.snapshots.snapshot import save_snapshot
from gp3d_core.visualization import rgb_to_uint8
from tests.support.micro import micro_config, micro_state

RADIUS = 0.3
SIZE = 48


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory):
    folder = tmp_path_factory.mktemp("snapshot")
    state = micro_state(folder / "data")
    path = folder / "snapshot-000000.00.safetensors"
    save_snapshot(path, state.ema, state.config, state.classes, 0)
    return path


def draw(snapshot, *more, seeds="0"):
    start = ["render", str(snapshot), "--class", "mushroom", "--seeds", seeds, "--device", "cpu"]
    return main([*start, *map(str, more)])


def pages(path):
    film = Image.open(path)
    found = []
    for number in range(film.n_frames):
        film.seek(number)
        found.append(np.asarray(film.convert("RGB")).astype(int))
    return found, film.info


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def hits(cameras, size=SIZE):
    """Closed form: distance to the sphere around the origin, whether it is hit, and its normals, [B,·,H,H]."""
    origins, directions = image_rays(cameras, size)
    along = -(origins * directions).sum(dim=1, keepdim=True)
    inside = along**2 - (origins**2).sum(dim=1, keepdim=True) + RADIUS**2
    depth = along - inside.clamp(min=0).sqrt()
    return depth, inside > 0, (origins + depth * directions) / RADIUS


def image_rays(cameras, size):
    return (part.transpose(1, 2).unflatten(2, (size, size)) for part in sample_rays(cameras, size))


def angles(found, expected):
    """Degrees between two fields of unit vectors [B,3,H,H]."""
    return torch.rad2deg(torch.arccos((found * expected).sum(dim=1, keepdim=True).clamp(-1, 1)))


def test_normals_of_a_sphere_are_its_radii_to_second_order():
    cameras = points(mean_camera(micro_config().camera)).to(dtype=torch.float64)
    backward = cam2world(cameras)[:, :3, 2, None, None]
    worst = []
    for size in (49, 97):  # the outer centres stay, so this halves the distance of pixels
        depth, hit, expected = hits(cameras, size)
        found = surface_normals(depth, hit.double(), cameras)
        facing = hit & ((expected * backward).sum(dim=1, keepdim=True) > 0.8)
        assert facing.sum() > 300
        assert torch.allclose(found.norm(dim=1, keepdim=True)[facing], torch.ones(1).double())
        assert found.masked_select(~hit).abs().max() == 0
        worst.append(angles(found, expected)[facing].max().item())
    assert worst[0] < 1.0
    assert worst[1] < worst[0] / 3


def test_normals_at_the_rim_do_not_mix_with_what_lies_behind():
    cameras = mean_camera(micro_config().camera).to(dtype=torch.float64)
    depth, hit, expected = hits(cameras)
    behind = torch.where(hit, depth, 2.5)
    found = surface_normals(behind, hit.double(), cameras)
    known = hit & (found.norm(dim=1, keepdim=True) > 0)
    assert known.sum() > 0.95 * hit.sum()
    assert angles(found, expected)[known].max() < 30


def test_normals_of_a_rendered_sphere_are_nearly_its_radii():
    config = micro_config("render.coarse_steps=96", "render.fine_steps=96")
    cameras = mean_camera(config.camera)

    def field(at):
        inside = RADIUS - at.norm(dim=-1, keepdim=True)
        return torch.zeros_like(at), inside * 2000

    seen = render(field, *sample_rays(cameras, SIZE), config.camera, config.render, jitter=False)
    depth, opacity = (part.transpose(1, 2).unflatten(2, (SIZE, SIZE)) for part in (seen.depth, seen.opacity))
    _, hit, expected = hits(cameras)
    found = surface_normals(depth, opacity, cameras)
    middle = hit & (expected[:, 2:] > 0.7)
    assert middle.sum() > 100
    assert angles(found, expected)[middle].mean() < 6


def test_rings_of_sampled_depth_do_not_show_in_normals_of_the_field():
    cameras = points(mean_camera(micro_config().camera)).to(dtype=torch.float64)
    depth, hit, expected = hits(cameras, 97)
    ringed = torch.round(depth * 200) / 200  # steps of half a hundredth, as samples along rays leave them
    shown = surface_normals(ringed, hit.double(), cameras)

    def sphere(at):
        return torch.zeros_like(at), RADIUS - at.norm(dim=-1, keepdim=True)

    found = rendered_normals(sphere, ringed, hit.double(), cameras, step=0.01)
    facing = hit & ((expected * shown).sum(dim=1, keepdim=True) > 0.6)
    assert facing.sum() > 300
    assert angles(shown, expected)[facing].mean() > 3
    assert angles(found, expected)[facing].max() < 1
    assert found.masked_select(~hit).abs().max() == 0
    hollow = rendered_normals(
        lambda at: (at, -sphere(at)[1]), ringed, hit.double(), cameras, step=0.01
    )  # disagrees
    assert torch.equal(hollow, shown)


def test_normals_ask_the_field_for_some_points_at_a_time():
    cameras = mean_camera(micro_config().camera)
    asked = []

    def sphere(at):
        asked.append(at.shape[1])
        return torch.zeros_like(at), RADIUS - at.norm(dim=-1, keepdim=True)

    depth, hit, expected = hits(cameras, 300)
    found = rendered_normals(sphere, depth, hit.float(), cameras, step=0.01)
    assert sum(asked) == 6 * 300**2
    assert max(asked) <= 2**18 < sum(asked)
    facing = hit & (expected[:, 2:] > 0.7)
    assert angles(found, expected)[facing].max() < 1


def test_normals_are_coloured_by_axis_and_nothing_is_white():
    normals = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, -1], [0, 0, 0]]).T[None, :, None]
    assert normals_to_uint8(normals)[0, 0].tolist() == [
        [255, 128, 128],
        [128, 255, 128],
        [128, 128, 0],
        [255, 255, 255],
    ]


def test_lonely_pixel_has_no_normal():
    cameras = mean_camera(micro_config().camera)
    opacity = torch.zeros(1, 1, 5, 5)
    opacity[..., 2, 2] = 1
    assert surface_normals(torch.ones(1, 1, 5, 5), opacity, cameras).abs().max() == 0


@pytest.mark.slow
def test_stills_are_a_picture_per_object_and_kind(snapshot, tmp_path, capsys):
    out = tmp_path / "stills"
    more = ("--kind", "stills", "--out", out, "--depth", "--normals", "--resolution", 20)
    assert draw(snapshot, *more, seeds="0-1") == 0
    assert names(out) == [
        f"mushroom-000{seed}.{kind}.png" for seed in (0, 1) for kind in ("color", "depth", "normals")
    ]
    assert sorted(capsys.readouterr().out.split()) == [str(out / name) for name in names(out)]
    shown = {name: np.asarray(Image.open(out / name)) for name in names(out)}
    assert {picture.shape for picture in shown.values()} == {(20, 20, 3)}
    assert len({picture.tobytes() for picture in shown.values()}) == 6


def test_stills_without_flags_are_colour_alone_and_points_are_three(snapshot, tmp_path):
    assert draw(snapshot, "--kind", "stills", "--out", tmp_path / "one") == 0
    assert names(tmp_path / "one") == ["mushroom-0000.color.png"]
    assert draw(snapshot, "--kind", "points", "--out", tmp_path / "three") == 0
    assert names(tmp_path / "three") == [f"mushroom-0000-{k}.color.png" for k in range(3)]
    middle = (tmp_path / "three/mushroom-0000-1.color.png").read_bytes()
    assert middle == (tmp_path / "one/mushroom-0000.color.png").read_bytes()


@pytest.mark.parametrize("kind", ["turntable", "front-circle", "line", "wiggle"])
def test_film_has_its_frames_and_moves(snapshot, tmp_path, kind):
    out = tmp_path / "film.gif"
    assert draw(snapshot, "--kind", kind, "--frames", 5, "--out", out) == 0
    found, info = pages(out)
    assert len(found) == 5
    assert all((a != b).any() for a, b in pairwise(found))
    assert (info["duration"], info["loop"]) == (30, 0)
    if kind == "front-circle":
        assert np.abs(found[0] - found[-1]).max() <= 2
    assert names(tmp_path) == ["film.gif"]


def test_film_shows_in_its_middle_what_the_stills_show(snapshot, tmp_path):
    wanted = ("--depth", "--normals", "--resolution", 24)
    assert draw(snapshot, "--kind", "stills", *wanted, "--out", tmp_path) == 0
    assert draw(snapshot, "--kind", "line", "--frames", 3, *wanted, "--out", tmp_path / "film.gif") == 0
    stills = [Image.open(tmp_path / f"mushroom-0000.{kind}.png") for kind in ("color", "depth", "normals")]
    expected = np.concatenate([np.asarray(still).astype(int) for still in stills], axis=1)
    assert np.abs(pages(tmp_path / "film.gif")[0][1] - expected).mean() < 4  # 256 colours a frame


def test_film_shows_what_was_asked_for_side_by_side(snapshot, tmp_path):
    more = ("--kind", "turntable", "--frames", 3, "--resolution", 18)
    assert draw(snapshot, *more, "--depth", "--normals", "--out", tmp_path / "wide.gif") == 0
    assert draw(snapshot, *more, "--out", tmp_path / "narrow.gif") == 0
    assert pages(tmp_path / "wide.gif")[0][0].shape == (18, 54, 3)
    assert pages(tmp_path / "narrow.gif")[0][0].shape == (18, 18, 3)


def test_several_objects_are_filmed_into_a_folder_and_twice_the_same(snapshot, tmp_path):
    for name in "ab":
        more = ("--kind", "line", "--frames", 3, "--out", tmp_path / name)
        assert draw(snapshot, *more, seeds="0-1") == 0
    assert names(tmp_path / "a") == ["mushroom-0000.line.gif", "mushroom-0001.line.gif"]
    one, other, again = (
        tmp_path.joinpath(path).read_bytes()
        for path in ("a/mushroom-0000.line.gif", "a/mushroom-0001.line.gif", "b/mushroom-0000.line.gif")
    )
    assert one == again
    assert one != other


class FakeEncoder(types.ModuleType):
    """Takes what an encoder takes and writes the frames' bytes."""

    def write_frames(self, path, size, **options):
        self.size, self.options, frames = size, options, 0
        with open(path, "wb") as file:
            while True:
                try:
                    frame = yield
                except GeneratorExit:
                    break
                assert len(frame) == 3 * size[0] * size[1]
                file.write(frame)
                frames += 1
        self.frames = frames


def test_mp4_hands_every_frame_to_the_encoder_with_even_edges(snapshot, tmp_path, monkeypatch):
    encoder = FakeEncoder("imageio_ffmpeg")
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", encoder)
    out = tmp_path / "film.mp4"
    assert draw(snapshot, "--kind", "line", "--frames", 4, "--resolution", 15, "--out", out) == 0
    assert (encoder.frames, encoder.size, encoder.options["fps"]) == (4, (16, 16), 30)
    assert names(tmp_path) == ["film.mp4"]


@pytest.mark.parametrize("suffix", ["gif", "mp4"])
def test_interrupted_film_leaves_nothing_and_keeps_the_old(snapshot, tmp_path, monkeypatch, suffix):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", FakeEncoder("imageio_ffmpeg"))
    calls = iter(range(99))

    def tired(image):
        if next(calls) == 2:
            raise KeyboardInterrupt
        return rgb_to_uint8(image)

    out = tmp_path / f"film.{suffix}"
    out.write_text("old")
    monkeypatch.setattr("gp3d_core.generation.video.rgb_to_uint8", tired)
    assert draw(snapshot, "--kind", "line", "--frames", 5, "--out", out) == 130
    assert names(tmp_path) == [out.name]
    assert out.read_text() == "old"


def test_folder_that_is_called_like_a_film_gets_gifs(snapshot, tmp_path):
    folder = tmp_path / "films.mp4"
    folder.mkdir()
    assert draw(snapshot, "--kind", "line", "--frames", 2, "--out", folder) == 0
    assert len(pages(folder / "mushroom-0000.line.gif")[0]) == 2


def test_unknown_kind_is_refused_before_anything_is_written(snapshot, tmp_path):
    model = open_snapshot(snapshot, "cpu")
    objects = object_specs(model, None, [0])
    for write in (write_films, write_stills):
        with pytest.raises(RequestError, match="`kind` spiral: expected"):
            list(write(model, objects, tmp_path / "out", kind="spiral"))
    with pytest.raises(RequestError, match="at least one object"):
        list(write_films(model, [], tmp_path / "out", kind="line"))
    assert names(tmp_path) == []


@pytest.mark.skipif(
    importlib.util.find_spec("imageio_ffmpeg") is None, reason="imageio-ffmpeg is not installed"
)
def test_mp4_has_its_frames(snapshot, tmp_path):
    import imageio_ffmpeg

    out = tmp_path / "film.mp4"
    assert draw(snapshot, "--kind", "turntable", "--frames", 9, "--resolution", 33, "--out", out) == 0
    frames = imageio_ffmpeg.read_frames(str(out))
    facts = next(frames)
    assert (facts["size"], facts["fps"], facts["codec"]) == ((34, 34), 30, "h264")
    assert len(list(frames)) == 9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--kind turntable --out {t}/x.mp4", "use .gif, or pip install imageio-ffmpeg"),
        ("--kind turntable --out {t}/x.avi", "--out expects a name in .gif or .mp4, or a folder"),
        ("--kind turntable --out {t}/x.gif --seeds 0-1", "expects a folder for the films of 2 objects"),
        ("--kind turntable --out {f}", "{f}: expected a folder, found a file"),
        ("--kind turntable --frames 1 --out {t}/x.gif", "--frames: expects a whole number from 2"),
        ("--kind spiral --out {t}/x.gif", "--kind: invalid choice: 'spiral'"),
        ("--kind stills --out {t}/x.png", "--out expects a folder, found"),
        ("--kind stills --frames 5 --out {t}/x", "--frames is for films"),
        ("--normals --out {t}/x.png", "--normals is for stills and films"),
    ],
)
def test_bad_request_is_one_line_and_writes_nothing(
    snapshot, tmp_path, capsys, monkeypatch, arguments, message
):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)  # as if it were not installed
    file = tmp_path / "file"
    file.write_text("mine")
    places = {"t": tmp_path, "f": file}
    assert draw(snapshot, *arguments.format(**places).split()) == 2
    told = capsys.readouterr().err.splitlines()
    assert [line for line in told if line.startswith("gp3d: ")] == told[-1:]
    assert message.format(**places) in told[-1]
    assert names(tmp_path) == ["file"]
    assert file.read_text() == "mine"
