"""`gp3d train --dry-run`: what a run comes to, and what it lacks, before anything is written."""

import json

import pytest

from gp3d_core.cli.main import main
from tests.support.micro import MICRO, micro_data


def test_dry_run_tells_sizes_and_trains_nothing(tmp_path, capsys):
    micro_data(tmp_path / "data")
    settings = [word for item in MICRO for word in ("--set", item)]
    assert main(["train", str(tmp_path / "data"), str(tmp_path / "run"), *settings, "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert "memory_estimate_gib" in told.splitlines()[-2]  # the summary is what a terminal shows
    facts = json.loads(told)
    assert next(iter(facts)) == "config"
    assert (facts["images"], facts["classes"], facts["images_to_see"], facts["steps"]) == (8, 2, 24, 6)
    assert facts["parameters"]["generator"] > 1000
    assert 0 < facts["memory_estimate_gib"] < 1
    assert facts["config"]["training"]["batch"] == 4
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("preset", "lacking"),
    [
        ("tiny", "has 16 px images, the configuration expects 64"),
        ("stylegan2-64-kd", "--features FILE"),
        ("projected-64", "--weights FILE"),
        ("tiny-projected", "--weights FILE"),
        (
            "eg3d-64 --set camera.yaw.kind=custom --set camera.pitch.kind=custom "
            "--set eg3d.pose_to_discriminator=true --set eg3d.start_resolution=8",
            "camera_angles",
        ),
        ("stylenerf-64 --features FEATURES", "distils no features"),
    ],
)
def test_dry_run_refuses_what_training_would(tmp_path, capsys, preset, lacking):
    data = micro_data(tmp_path / "data").path
    words = preset.replace("FEATURES", str(data / "dataset.json")).split()
    if preset != "tiny":
        words += ["--set", "training.resolution=16"]
    said = []
    for more in (["--dry-run"], []):
        assert main(["train", str(data), str(tmp_path / "run"), "--preset", *words, *more]) == 2
        said.append(capsys.readouterr().err)
        assert lacking in said[-1]
        assert said[-1].count("\n") == 1
    assert said[0] == said[1]
    assert not (tmp_path / "run").exists()
