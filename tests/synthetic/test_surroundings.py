"""`--light`, `--ground` and `--background` as a user asks for them: records, equal bytes, the check, and bad input."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from synthetic.check import main
from synthetic.options import command_line, settings_of
from synthetic.surroundings.settings import MEAN_RADIANCE, Surroundings
from tests.synthetic import small_library as library
from tests.synthetic.surroundings import maps

KEYS = ("02876657/blocks", "03797390/ball")
SIZE = ("--resolution", 48, "--samples", 4, "--views", 2)
Answer = tuple[int, str]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with models, two maps and three pictures."""
    root = tmp_path_factory.mktemp("surroundings")
    library.write_facts(root / "models")
    for key in KEYS:
        library.write_model(root / "models", key, library.SHAPES[key])
    for name in ("maps", "pictures"):
        (root / name).mkdir()
    maps.written(maps.smooth(), root / "maps/waves.exr")
    maps.written(maps.one_pixel(), root / "maps/sun.exr")
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 60, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / f"pictures/{number}.png")
    return root


def options(root: Path) -> tuple[object, ...]:
    return (*SIZE, "--light", root / "maps", "--ground", "random", "--background", root / "pictures")


def render(root: Path, out: Path, *words: object) -> Answer:
    run = library.run(root / "scratch", "synthetic.render", root / "models", out, *words)
    assert list((root / "scratch").iterdir()) == []
    return run.returncode, run.stderr


@pytest.fixture(scope="module")
def made(root: Path) -> Path:
    out = root / "one"
    assert render(root, out, *options(root), "--passes", "albedo,instance,position", "--workers", 1)[0] == 0
    return out


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.blender
@pytest.mark.slow
def test_records_say_what_is_around_every_view(root: Path, made: Path) -> None:
    cameras = json.loads((made / "cameras.json").read_text())["views"]
    settings = json.loads((made / "dataset.json").read_text())["generator"]["settings"]
    around = settings["surroundings"]
    assert around["worlds"] == [
        f"{name} {hashlib.sha256((root / 'maps' / name).read_bytes()).hexdigest()}"
        for name in ("sun.exr", "waves.exr")
    ]
    assert settings["cameras"]["t_far"] == 12.0
    assert len(cameras) == 4
    for key in KEYS:
        views = [view for view in cameras.values() if view["model"] == key]
        first, second = (view["light"] for view in views)
        assert first == second  # one light for all views of a model
        assert f"{first['world']} {first['sha256']}" in around["worlds"]
        strength = {"sun.exr": maps.one_pixel().strength, "waves.exr": maps.smooth().strength}[first["world"]]
        assert first["strength"] == pytest.approx(strength, rel=1e-3)
        assert all(view["ground"] == views[0]["ground"] for view in views)
        assert all(view["background"]["picture"] in ("0.png", "1.png", "2.png") for view in views)
    for path in sorted(made.rglob("*_geometry.npz")):
        with np.load(path, allow_pickle=False) as arrays:
            depth, mask, instance = arrays["z_depth"], arrays["mask"], arrays["instance"]
        assert mask.any()
        assert (np.isfinite(depth) & ~mask).any()
        assert ((instance > 0) == mask).all()


@pytest.mark.blender
@pytest.mark.slow
def test_any_number_of_workers_and_shards_and_a_resumed_run_make_the_same_bytes(
    root: Path, made: Path
) -> None:
    words = (*options(root), "--passes", "albedo,instance,position")
    assert render(root, root / "two", *words, "--workers", 2)[0] == 0
    for shard in ("1/2", "2/2"):
        assert render(root, root / "shards", *words, "--shard", shard, "--workers", 1)[0] in (0, 2)
    shutil.copytree(made, root / "resumed")
    for path in sorted((root / "resumed").rglob("*_camera.json"))[::2]:
        path.unlink()
    assert render(root, root / "resumed", *words)[0] == 0
    expected = contents(made)
    for name in ("two", "shards", "resumed"):
        assert contents(root / name) == expected, name


@pytest.mark.blender
@pytest.mark.slow
def test_other_surroundings_are_refused_for_a_data_set_that_is_there(root: Path, made: Path) -> None:
    before = contents(made)
    (root / "other").mkdir()
    maps.written(maps.uniform(), root / "other/sun.exr")
    for word, replaced in (("--light", root / "other"), ("--ground", "none"), ("--background", "white")):
        words = list(options(root))
        words[words.index(word) + 1] = replaced
        status, told = render(root, made, *words, "--passes", "albedo,instance,position")
        assert status == 2
        assert "holds views with" in told
        assert told.count("\n") == 1
    assert contents(made) == before


def check(root: Path, out: Path, report: Path) -> tuple[int, dict[str, Any]]:
    status = main([str(out), "--models", str(root / "models"), "--out", str(report)])
    return status, json.loads((report / "report.json").read_text())


@pytest.mark.blender
@pytest.mark.slow
def test_check_knows_the_ground_and_tells_that_it_does_not_know_the_map(
    root: Path, made: Path, tmp_path: Path
) -> None:
    status, report = check(root, made, tmp_path)
    assert status == 0, report["broken"]
    assert report["summary"]["albedo_off"] == 0
    assert report["summary"]["position_off"] == 0
    assert report["unchecked_colors"]["light of an environment map"] > 1000


LIES = {
    "ground deeper": lambda arrays: {
        "z_depth": np.where(arrays["mask"], arrays["z_depth"], arrays["z_depth"] + 1e-3)
    },
    "ground in the mask": lambda arrays: {"mask": np.isfinite(arrays["z_depth"])},
    "no ground": lambda arrays: {"z_depth": np.where(arrays["mask"], arrays["z_depth"], np.float32(np.inf))},
    "ground of another colour": lambda arrays: {
        "albedo": np.where(arrays["mask"][..., None], arrays["albedo"], np.uint8(90))
    },
}


@pytest.mark.blender
@pytest.mark.slow
@pytest.mark.parametrize("lie", LIES)
def test_check_finds_lies_of_the_ground(root: Path, made: Path, tmp_path: Path, lie: str) -> None:
    shutil.copytree(made, tmp_path / "out")
    for path in (tmp_path / "out").rglob("*_geometry.npz"):
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
        np.savez(path, **{**arrays, **LIES[lie](arrays)})
    assert check(root, tmp_path / "out", tmp_path / "report")[0] == 1


@pytest.mark.blender
@pytest.mark.slow
@pytest.mark.parametrize("light", ["flat", "paper"])
def test_check_knows_flat_light_from_the_usual_one(root: Path, tmp_path: Path, light: str) -> None:
    words = ("--resolution", 64, "--samples", 16, "--views", 2, "--background", "teal", "--ground", "#888888")
    assert render(root, tmp_path / "out", *words, "--light", light)[0] == 0
    status, report = check(root, tmp_path / "out", tmp_path / "report")
    assert status == 0, report["broken"]
    assert report["summary"]["light"] == pytest.approx(1.0, abs=0.05)
    index = json.loads((tmp_path / "out/dataset.json").read_text())
    other = {"flat": "paper", "paper": "flat"}[light]
    index["generator"]["settings"]["surroundings"]["light"] = other
    (tmp_path / "out/dataset.json").write_text(json.dumps(index))
    assert check(root, tmp_path / "out", tmp_path / "lie")[0] == 1


@pytest.mark.blender
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--light", "hdri:moon"), "expected names among"),
        (("--light", "nowhere"), "--light nowhere: expected paper, flat, hdri"),
        (("--background", "hdri"), "ask for --light hdri"),
        (("--ground", "grass"), "--ground grass: expected none, random or a colour"),
        (("--ground", "random", "--preset", "sphere"), "do not fit into a room, or on a ground"),
        (("--ground", "random", "--stage", "room"), "has a ground and walls of its own"),
    ],
)
def test_bad_words_get_one_line_and_nothing_is_written(
    root: Path, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    status, told = render(root, tmp_path / "out", *words)
    assert status == 2
    assert message in told
    assert told.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_cameras_stay_above_a_ground() -> None:
    arguments = command_line("").parse_args(["models", "out"])
    settings = settings_of(arguments, Surroundings(ground="random"))
    assert settings.cameras.pitch == (np.pi / 2 - 0.3, 0.08)
    assert (settings.cameras.t_near, settings.cameras.t_far) == (0.5, 12.0)
    assert pytest.approx(0.627, abs=1e-3) == MEAN_RADIANCE
