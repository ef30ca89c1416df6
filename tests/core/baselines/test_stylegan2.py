"""StyleGAN2 as a system: trained, gone on with to the bit, distilled; its snapshot drawn and measured, not meshed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gp3d_core.baselines.stylegan2 import Stylegan2Generator
from gp3d_core.cli.main import main
from gp3d_core.config.pictures.stylegan2 import Stylegan2Config, automatic_gamma
from gp3d_core.config.presets import PRESETS, resolve
from gp3d_core.config.schema import ConfigError
from gp3d_core.datasets.dataset import Dataset, batches
from gp3d_core.distributed import World
from gp3d_core.networks.discriminator import ImageDiscriminator
from gp3d_core.networks.generator import NoShapeError
from gp3d_core.networks.latents import Latents, sample_latents
from gp3d_core.snapshots.snapshot import load_snapshot
from gp3d_core.training.gan import build_state, train_step
from gp3d_core.training.phases import StepContext
from gp3d_core.training.start import start_training
from gp3d_core.training.systems.phases import Players
from tests.support.micro import StopAfter, assert_same, micro_data, moments_of, run, weights_of
from tests.support.micro_pictures import FEATURES, PICTURES, RESIDUAL, featured_data, picture_config


def test_presets_are_those_of_the_rows() -> None:
    plain, distilled, by_class = (PRESETS[f"stylegan2-64{word}"] for word in ("", "-kd", "-kl"))
    assert isinstance(plain, Stylegan2Config)
    assert plain.loss.distillation_weight.at(0) == 0
    assert (distilled.loss.distillation, by_class.loss.distillation) == ("l2", "kl")
    assert distilled.loss.distillation_weight.at(0) == 1
    assert plain.loss.r1_gamma == automatic_gamma(64, 8) == pytest.approx(2e-4 * 64**2 / 8)
    assert PRESETS["stylegan2-128"].training.resolution == 128


def test_a_run_goes_on_to_the_bit(tmp_path: Path) -> None:
    dataset, config = micro_data(tmp_path / "data"), picture_config()
    whole = run(tmp_path / "whole", dataset, config)
    run(tmp_path / "parts", dataset, config, StopAfter(3))
    resumed = run(tmp_path / "parts", dataset, config)
    assert whole.nimg == resumed.nimg == 24
    assert_same(weights_of(whole), weights_of(resumed))
    assert_same(moments_of(whole), moments_of(resumed))
    assert whole.modules["path_length"].mean > 0


def test_path_lengths_come_every_other_step_and_slow_the_optimiser_down(tmp_path: Path) -> None:
    dataset = micro_data(tmp_path / "data")
    state = build_state(picture_config(), dataset, World())
    assert state.generator_optimizer.param_groups[0]["lr"] == pytest.approx(0.002 * 2 / 3)
    seen = []
    for batch, _ in zip(
        batches(dataset, nimg=0, batch=4, part=slice(0, 4), seed=0, mirror=True), range(4), strict=False
    ):
        log, skipped = train_step(state, batch, World()).read()
        assert not skipped
        seen.append("loss/path_penalty" in log)
    assert seen == [True, False, True, False]
    without = build_state(picture_config("stylegan2.path_weight=0"), dataset, World())
    assert without.generator_optimizer.param_groups[0]["lr"] == 0.002
    assert "path_length" not in without.modules


def test_the_path_term_is_its_weight_times_the_interval_between_two(tmp_path: Path) -> None:
    """Over a whole cycle it then weighs as if it came in every step."""
    dataset, config = micro_data(tmp_path / "data"), picture_config("stylegan2.path_interval=3")
    state = build_state(config, dataset, World())
    batch = next(batches(dataset, nimg=0, batch=4, part=slice(0, 4), seed=0, mirror=False))
    (penalty,) = state.phases.generator_penalties
    rng = torch.Generator().manual_seed(3)

    def draw() -> Latents:
        return sample_latents(config, state.labels, 2, 4, nimg=0, generator=rng)

    term, log = penalty.loss(
        Players(state.generator, state.discriminator, batch, StepContext(0, 0.0, rng), draw)
    )
    assert penalty.interval == 3
    assert term.item() == pytest.approx(2.0 * 3 * log["loss/path_penalty"].item())
    assert state.modules["path_length"].mean.item() == pytest.approx(0.01 * log["path/length"].item())


def test_every_micro_batch_moves_the_mean_path_length_from_where_the_step_began(tmp_path: Path) -> None:
    dataset = micro_data(tmp_path / "data")
    state = build_state(picture_config("training.micro_batch=2"), dataset, World())
    batch = next(batches(dataset, nimg=0, batch=4, part=slice(0, 4), seed=0, mirror=False))
    log, _ = train_step(state, batch, World()).read()  # the mean starts at zero
    assert state.modules["path_length"].mean.item() == pytest.approx(0.01 * log["path/length"], rel=1e-5)


def test_distillation_teaches_the_discriminator_the_features(tmp_path: Path) -> None:
    dataset = featured_data(tmp_path / "data")
    config = picture_config("training.discriminator_lr=0.02", preset="stylegan2-64-kd")
    state = build_state(config, dataset, World())
    assert isinstance(state.discriminator, ImageDiscriminator)
    assert state.discriminator.feature_head[-1].weight.shape[0] == FEATURES
    found = []
    for batch, _ in zip(
        batches(dataset, nimg=0, batch=4, part=slice(0, 4), seed=0, mirror=False), range(40), strict=False
    ):
        found.append(train_step(state, batch, World()).read()[0]["loss/distillation"])
    assert sum(found[-8:]) < 0.7 * sum(found[:8])


@pytest.mark.parametrize("preset", ["stylegan2-64-kd", "stylegan2-64-kl"])
def test_a_teacher_whose_features_are_missing_is_asked_for(tmp_path: Path, preset: str) -> None:
    data = micro_data(tmp_path / "data").path
    with pytest.raises(ConfigError, match="`features` FILE"):
        start_training(picture_config(preset=preset), data, tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


def test_a_snapshot_is_drawn_and_measured_by_the_same_commands_and_not_meshed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, folder = micro_data(tmp_path / "data").path, tmp_path / "run"
    settings = [word for item in (*PICTURES, *RESIDUAL) for word in ("--set", item)]
    command = ["train", str(data), str(folder), "--preset", "stylegan2-64", *settings, "--device", "cpu"]
    assert main(command) == 0
    snapshot = load_snapshot(sorted((folder / "snapshots").glob("*.safetensors"))[-1])
    assert isinstance(snapshot.generator, Stylegan2Generator)
    assert not hasattr(snapshot.generator, "decoder")
    sheet = tmp_path / "sheet.png"
    assert main(["render", str(folder), "--class", "mushroom", "--seeds", "0-1", "--out", str(sheet)]) == 0
    assert sheet.is_file()
    for more in (["--depth"], ["--kind", "stills", "--depth"]):
        place = tmp_path / f"depth-{len(more)}.png"
        asked = ["render", str(folder), "--class", "mushroom", "--out", str(place), *more]
        assert main(asked) != 0
        assert not place.exists()
    capsys.readouterr()
    mesh = ["mesh", str(folder), "--class", "mushroom", "--seeds", "0", "--out", str(tmp_path / "mesh")]
    assert main(mesh) != 0
    line = capsys.readouterr().err.strip()
    assert len(line.splitlines()) == 1
    assert "stylegan2" in line
    assert not [path for path in (tmp_path / "mesh").rglob("*") if path.is_file()]


def test_pictures_do_not_depend_on_the_camera_and_have_no_depth() -> None:
    generator = Stylegan2Generator(picture_config(), 2).eval()
    ws = generator.mapping(torch.randn(1, 8), torch.eye(2)[:1])
    seen = generator.view(ws, None, resolution=8)  # type: ignore[arg-type] - nobody looks through it
    assert seen.rgb.shape == (1, 3, 8, 8)
    assert seen.depth.isnan().all()
    with pytest.raises(NoShapeError):
        generator.field(generator.planes(ws))


def test_what_a_system_of_pictures_does_not_read_cannot_be_set() -> None:
    for key in ("camera.yaw.std=1", "render.coarse_steps=3", "patch.resolution=8", "loss.blur.start=1"):
        with pytest.raises(ConfigError, match="stylegan2"):
            resolve("stylegan2-64", [key])


def test_data_without_depth_maps_are_enough(tmp_path: Path) -> None:
    data = micro_data(tmp_path / "data").path
    for path in data.rglob("*_depth.png"):
        path.unlink()
    dataset = Dataset(data, reads_depth=picture_config().reads_depth)
    assert run(tmp_path / "run", dataset, picture_config("training.kimg=0.004")).nimg == 4
