"""What a run says before it begins: how long it will take here, and what to run instead where that is days."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import pytest
import torch

from gp3d_core.cli.main import main
from gp3d_core.cli.train import lasting, outlook
from gp3d_core.config.schema import ConfigError, RunConfig
from gp3d_core.datasets.dataset import Dataset
from gp3d_core.networks.generator import Generator
from gp3d_core.ops.backends import announce as announce_once
from gp3d_core.snapshots.run_folder import RunError
from gp3d_core.training import start
from gp3d_core.training.launch import Forecast
from gp3d_core.training.start import (
    count_parameters,
    estimate_memory,
    fitting_micro_batch,
    forecast,
    free_memory,
)
from tests.support.micro import MICRO, micro_config, micro_data


def test_a_forecast_draws_no_random_number(tmp_path: Path) -> None:
    data = micro_data(tmp_path / "data")
    before = torch.get_rng_state()
    found = forecast(micro_config(), data, 24)
    assert torch.equal(torch.get_rng_state(), before)
    assert found.images == 24
    assert 0 < found.seconds < 600


def test_what_is_left_is_forecast_once_the_folder_is_claimed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing for a folder that is refused, what is left for a run that goes on, and nothing for one that is done."""
    asked: list[int] = []

    def forecast(_config: RunConfig, _data: Dataset, images: int) -> Forecast:
        asked.append(images)
        return Forecast(images, 1.0)

    monkeypatch.setattr(start, "forecast", forecast)
    data, run = micro_data(tmp_path / "data").path, tmp_path / "run"

    def train(*changes: str) -> None:
        start.start_training(micro_config(*changes), data, run, device="cpu", announce=lambda _: None)

    run.mkdir()
    (run / "letter.txt").touch()
    with pytest.raises(RunError, match="is not a run folder"):
        train()
    assert asked == []
    (run / "letter.txt").unlink()
    train("training.kimg=0.008")
    train("training.kimg=0.012")
    train("training.kimg=0.012")
    assert asked == [8, 4]


def test_a_training_begins_with_its_forecast(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    micro_data(tmp_path / "data")
    settings = [word for item in MICRO for word in ("--set", item)]
    assert main(["train", str(tmp_path / "data"), str(tmp_path / "run"), *settings, "--device", "cpu"]) == 0
    errors = capsys.readouterr().err
    assert errors.index("24 images, about ") < errors.index("done at 24 images")
    assert "\r" not in errors, "there is no terminal"
    assert "training: 8 of 24 img, " in errors


def test_a_limit_that_ends_a_run_before_is_said_with_the_forecast() -> None:
    assert lasting(Forecast(12_000, 5160.0), 0.5) == (
        "12,000 images, about 86 minutes on this machine; --max-minutes ends it after 0.5, counted over all its resumes"
    )
    assert lasting(Forecast(12_000, 5160.0), 90.0) == "12,000 images, about 86 minutes on this machine"


@pytest.mark.parametrize(
    ("seconds", "preset", "minutes", "words", "more"),
    [
        (40.0, "shapenet-64", math.inf, "about 40 seconds on", False),
        (540.0, "shapenet-64", math.inf, "about 9 minutes on", False),
        (9 * 3600.0, "shapenet-64", math.inf, "about 9 hours on", False),
        (144 * 86400.0, "shapenet-64", math.inf, "about 144 days on", True),
        (144 * 86400.0, "shapenet-64", 30.0, "about 144 days on", False),
        (144 * 86400.0, "tiny", math.inf, "about 144 days on", False),
    ],
)
def test_days_are_answered_with_the_whole_command_of_something_sooner(
    seconds: float, preset: str, minutes: float, words: str, more: bool
) -> None:
    options = argparse.Namespace(
        dataset=Path("views"), run=Path("runs/a"), preset=preset, max_minutes=minutes
    )
    line = outlook(options, Forecast(2_000_000, seconds))
    assert line.startswith("2,000,000 images, ")
    assert words in line
    assert line.endswith("gp3d train views runs/a-tiny --preset tiny --max-minutes 30") == more


def test_the_micro_batch_is_halved_until_it_fits_and_no_group_is_cut(tmp_path: Path) -> None:
    data = micro_data(tmp_path)
    config = micro_config("training.batch=32", "training.micro_batch=32")
    need = estimate_memory(config, count_parameters(config, data))
    assert fitting_micro_batch(config, data, math.inf) == 32
    assert fitting_micro_batch(config, data, need) == 16  # a fifth stays free
    assert fitting_micro_batch(config, data, 2 * need) == 32
    assert fitting_micro_batch(config, data, 0.0) == 4


def test_counted_weights_are_those_of_the_networks(tmp_path: Path) -> None:
    data, config = micro_data(tmp_path), micro_config()
    generator = Generator(config, data.num_classes)
    assert count_parameters(config, data)["generator"] == sum(p.numel() for p in generator.parameters())


def test_a_run_goes_on_with_the_micro_batch_that_it_began_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    micro_data(tmp_path / "data")
    settings = [
        word for item in MICRO if not item.startswith("training.micro_batch") for word in ("--set", item)
    ]
    command = ["train", str(tmp_path / "data"), str(tmp_path / "run"), *settings, "--device", "cpu"]
    command += ["--set", "training.batch=8"]
    monkeypatch.setattr("gp3d_core.training.start.free_memory", lambda device: 0.0)
    assert main([*command, "--set", "training.kimg=0.016"]) == 0
    assert "training.micro_batch 8 → 4: more may not fit into memory" in capsys.readouterr().err
    monkeypatch.setattr("gp3d_core.training.start.free_memory", lambda device: math.inf)
    assert main([*command, "--set", "training.kimg=0.032"]) == 0
    assert "training.micro_batch 8 → 4: as this run began" in capsys.readouterr().err
    assert json.loads((tmp_path / "run/config.json").read_text())["training"]["micro_batch"] == 4


def test_another_preset_than_the_run_began_with_is_what_is_said_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    micro_data(tmp_path / "data")
    settings = [word for item in MICRO for word in ("--set", item)]
    command = ["train", str(tmp_path / "data"), str(tmp_path / "run"), "--device", "cpu"]
    assert main([*command, "--preset", "tiny", *settings, "--set", "training.kimg=0.008"]) == 0
    capsys.readouterr()
    assert main([*command, "--preset", "shapenet-64"]) == 2  # of a batch that its micro-batch does not divide
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        f"gp3d: {tmp_path}/run was begun with --preset tiny, asked for is shapenet-64; go on with --preset tiny, or "
        "choose another folder"
    )


def test_free_memory_of_this_machine_is_known() -> None:
    assert 2**20 < free_memory("cpu") < 2**50


def test_cameras_of_the_data_are_asked_for_before_anything_is_written(tmp_path: Path) -> None:
    data = micro_data(tmp_path / "data")
    header = json.loads((data.path / "dataset.json").read_text())
    header.pop("camera_angles", None)
    (data.path / "dataset.json").write_text(json.dumps(header))
    config = micro_config("camera.yaw.kind=custom", "camera.pitch.kind=custom")
    with pytest.raises(ConfigError, match="needs camera_angles"):
        start.start_training(config, data.path, tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


def test_cameras_of_the_data_that_nobody_draws_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before a training, also a dry one, and not where the cameras are taken from the data."""
    data = micro_data(tmp_path / "data")
    header = json.loads((data.path / "dataset.json").read_text())
    header["camera_angles"] = [[name, [math.pi, 1.2, 0.0]] for name in data.names]
    (data.path / "dataset.json").write_text(json.dumps(header))
    settings = [word for item in MICRO for word in ("--set", item)]
    command = ["train", str(data.path), str(tmp_path / "run"), *settings, "--dry-run"]
    announce_once.cache_clear()
    assert main(command) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        "gp3d: cameras of the data are not those that are drawn: nine in ten have yaw -180° in"
    )
    custom = ["--set", "camera.yaw.kind=custom", "--set", "camera.pitch.kind=custom"]
    assert line.endswith(f"shapes would make up for that. {' '.join(custom)} would draw those of the data")
    announce_once.cache_clear()
    assert main([*command, *custom]) == 0
    assert capsys.readouterr().err == ""


def test_radius_of_rendered_data_is_told_before_its_depth_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The range of depth alone would be mended to cameras whose near plane lies behind the object."""
    data = micro_data(tmp_path / "data")
    header = json.loads((data.path / "dataset.json").read_text())
    header |= {
        "t_near": 2.45,
        "t_far": 3.55,
        "generator": {"settings": {"cameras": {"radius": 3.0, "fov": 40.0}}},
    }
    (data.path / "dataset.json").write_text(json.dumps(header))
    announce_once.cache_clear()
    assert (
        main(["train", str(data.path), str(tmp_path / "run"), *[w for i in MICRO for w in ("--set", i)]]) == 2
    )
    told, refused = capsys.readouterr().err.splitlines()
    assert "radius 3 in the data, 2 drawn" in told
    assert "--set camera.radius.kind=constant --set camera.radius.mean=3 would draw" in told
    assert "codes depth between 2.45 and 3.55" in refused
