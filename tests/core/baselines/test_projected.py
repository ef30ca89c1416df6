"""The projected discriminator as a system's own and as 3DGP's second: trained, gone on with, and its weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gp3d_core.config.pictures.projected import ProjectedConfig
from gp3d_core.config.presets import PRESETS, resolve
from gp3d_core.config.schema import ConfigError, RunConfig
from gp3d_core.distributed import World
from gp3d_core.networks.discriminator import Discriminator
from gp3d_core.networks.foreign_weights import WeightsError, read_weights
from gp3d_core.networks.generator import Generator
from gp3d_core.networks.projected.discriminator import ProjectedDiscriminator
from gp3d_core.snapshots.run_folder import RunFolder
from gp3d_core.training.gan import build_state, open_task
from gp3d_core.training.phases import StepContext, discriminator_phase, generator_phase
from gp3d_core.training.start import start_training
from gp3d_core.training.systems.projected import ProjectedSecond, TwoDiscriminators
from tests.support.micro import (
    MICRO,
    StopAfter,
    assert_same,
    finish,
    micro_data,
    moments_of,
    run,
    weights_of,
)
from tests.support.micro_pictures import PROJECTED, picture_config, random_squeezenet

PRESET = "projected-64"


def both_config(*more: str) -> RunConfig:
    return resolve("tiny-projected", [*MICRO, *PROJECTED, *more])


@pytest.mark.parametrize("beside", [False, True], ids=["instead", "beside 3DGP's"])
def test_a_run_goes_on_to_the_bit_without_the_file_of_weights(tmp_path: Path, beside: bool) -> None:
    dataset = micro_data(tmp_path / "data")
    config = both_config() if beside else picture_config(preset=PRESET)
    weights = random_squeezenet(tmp_path / "squeezenet.safetensors")

    def begin(name: str, interruption: StopAfter | None = None):
        folder = RunFolder(tmp_path / name)
        folder.claim(config, dataset.fingerprint)
        task = open_task(config, dataset, folder, World(), weights=weights)
        return finish(task, folder, interruption)

    whole = begin("whole")
    begin("parts", StopAfter(3))
    weights.unlink()
    resumed = run(tmp_path / "parts", dataset, config)
    assert whole.nimg == resumed.nimg == 24
    assert_same(weights_of(whole), weights_of(resumed))
    assert_same(moments_of(whole), moments_of(resumed))


def test_training_leaves_features_and_projections_as_they_were(tmp_path: Path) -> None:
    dataset, config = micro_data(tmp_path / "data"), picture_config("training.kimg=0.04", preset=PRESET)
    weights = random_squeezenet(tmp_path / "squeezenet.safetensors")
    folder = RunFolder(tmp_path / "run")
    folder.claim(config, dataset.fingerprint)
    task = open_task(config, dataset, folder, World(), weights=weights)
    before = {name: value.clone() for name, value in task.state.discriminator.state_dict().items()}
    known = read_weights(weights)
    assert torch.equal(before["features.layers.3.squeeze.weight"], known["features.3.squeeze.weight"])
    state = finish(task, folder)
    assert state.nimg == 40  # ten steps
    after = state.discriminator.state_dict()
    frozen = [name for name in before if not name.startswith("heads.")]
    assert frozen
    assert all(torch.equal(before[name], after[name]) for name in frozen)
    learnt = [name for name, _ in state.discriminator.named_parameters()]
    assert all(name.startswith("heads.") for name in learnt)
    assert any(not torch.equal(before[name], after[name]) for name in learnt)


def test_weights_are_asked_for_and_refused_where_nothing_looks_through_them(tmp_path: Path) -> None:
    data = micro_data(tmp_path / "data").path
    weights = random_squeezenet(tmp_path / "squeezenet.safetensors")

    def train(config: RunConfig, weights: Path | None) -> None:
        start_training(config, data, tmp_path / "run", device="cpu", weights=weights)

    with pytest.raises(ConfigError, match="`weights` FILE"):
        train(picture_config(preset=PRESET), None)
    with pytest.raises(ConfigError, match="no pretrained network"):
        train(picture_config(), weights)
    (tmp_path / "text.safetensors").write_text("no weights")
    with pytest.raises(WeightsError, match="text"):
        train(picture_config(preset=PRESET), tmp_path / "text.safetensors")
    assert not (tmp_path / "run").exists()
    train(picture_config("training.kimg=0.004", preset=PRESET), weights)
    train(picture_config("training.kimg=0.008", preset=PRESET), None)  # its checkpoint has them


@pytest.mark.parametrize(
    "setting", ["projected.input_size=64", "projected.heads=5", "projected.mixing_width=0"]
)
def test_settings_out_of_range_are_named(setting: str) -> None:
    with pytest.raises(ConfigError, match=setting.partition("=")[0]):
        resolve(PRESET, [setting])


def test_presets_beside_3dgp_differ_from_it_in_nothing_else() -> None:
    for name in ("tiny", "shapenet-64"):
        ours, plain = PRESETS[f"{name}-projected"], PRESETS[name]
        assert isinstance(ours, ProjectedConfig)
        for section in ("camera", "render", "generator", "discriminator", "loss", "patch", "training"):
            assert getattr(ours, section) == getattr(plain, section)


@dataclass
class Second:
    """Stands in for a second discriminator that pays closed forms, and notes what it is shown."""

    shown: list[Sequence[Tensor]] = field(default_factory=list)

    def generator_loss(self, rgb: Tensor, c: Tensor | None, context: StepContext):
        self.shown.append((rgb,))
        return 5.0 * rgb.mean(), {"loss/generator_projected": rgb.mean()}

    def discriminator_loss(self, fake, fake_c, real, real_c, context: StepContext):
        self.shown.append((fake, real))
        return torch.tensor(7.0), {}


def test_a_second_discriminator_adds_its_loss_on_the_same_pictures(tmp_path: Path) -> None:
    state = build_state(both_config(), micro_data(tmp_path / "data"), World())
    config, dataset = state.config, micro_data(tmp_path / "data")
    from gp3d_core.datasets.dataset import batches
    from gp3d_core.networks.latents import sample_latents

    batch = next(batches(dataset, nimg=0, batch=4, part=slice(0, 4), seed=0, mirror=False))
    patches: Discriminator = state.discriminator.patches
    generator: Generator = state.generator
    results = []
    for second in (None, Second()):
        context = StepContext(0, 0.0, torch.Generator().manual_seed(3))
        latents = sample_latents(config, state.labels, 2, 4, nimg=0, generator=context.rng)
        results.append(
            (
                generator_phase(generator, patches, latents, config, context, second)[0],
                discriminator_phase(generator, patches, latents, batch, config, context, second)[0],
            )
        )
    (plain_g, plain_d), (both_g, both_d) = results
    shown = second.shown
    assert [tuple(x.shape for x in one) for one in shown] == [((4, 3, 8, 8),), ((4, 3, 8, 8),) * 2]
    torch.testing.assert_close(both_g, plain_g + 5.0 * shown[0][0].mean())
    torch.testing.assert_close(both_d, plain_d + 7.0)


def test_the_projected_second_pays_the_hinge_loss_over_all_logits(tmp_path: Path) -> None:
    state = build_state(both_config("projected.augment=false"), micro_data(tmp_path / "data"), World())
    both = state.discriminator
    assert isinstance(both, TwoDiscriminators)
    both.eval()  # so that a call leaves the next one as it is
    second = ProjectedSecond(both.pictures, state.config.projected)
    context = StepContext(0, 0.0, torch.Generator())
    fake, real, c = torch.rand(4, 3, 8, 8), torch.rand(4, 3, 8, 8), torch.eye(2)[[0, 1, 1, 0]]
    on_fake, on_real = both.pictures(fake, c).logits, both.pictures(real, c).logits
    assert on_fake.shape[1] > 4
    torch.testing.assert_close(second.generator_loss(fake, c, context)[0], -on_fake.mean())
    expected = (1 + on_fake).clamp(min=0).mean() + (1 - on_real).clamp(min=0).mean()
    torch.testing.assert_close(second.discriminator_loss(fake, c, real, c, context)[0], expected)


def test_a_generator_gains_nothing_by_more_contrast_than_the_data_can_have(tmp_path: Path) -> None:
    from gp3d_core.training.systems.projected import judge_projected

    state = build_state(both_config(), micro_data(tmp_path / "data"), World())
    pictures: ProjectedDiscriminator = state.discriminator.pictures.eval()
    images, c = 2.0 * torch.randn(4, 3, 8, 8), torch.eye(2)[[0, 1, 1, 0]]
    found = []
    for augment in (False, True):
        settings = resolve("tiny-projected", [*PROJECTED, f"projected.augment={augment}"]).projected
        for factor in (1.0, 100.0):
            shown = torch.where(images.abs() > 1, factor * images, images).requires_grad_()
            context = StepContext(0, 0.0, torch.Generator().manual_seed(3))
            found.append(judge_projected(pictures, shown, c, settings, context).logits)
            (gradient,) = torch.autograd.grad(-found[-1].mean(), shown)
            assert not ((gradient * shown < 0) & (shown.abs() > 1)).any()  # none leads further out
            assert ((gradient * shown > 0) & (shown.abs() > 1)).any()
        assert torch.equal(found[-1], found[-2])


def test_augmentation_is_before_the_heads_and_can_be_left_out(tmp_path: Path) -> None:
    from gp3d_core.training.systems.projected import judge_projected

    state = build_state(both_config(), micro_data(tmp_path / "data"), World())
    pictures: ProjectedDiscriminator = state.discriminator.pictures.eval()
    images, c = torch.rand(4, 3, 8, 8), torch.eye(2)[[0, 1, 1, 0]]
    settings = state.config.projected
    for augment in (True, False):
        chosen = resolve("tiny-projected", [*PROJECTED, f"projected.augment={augment}"]).projected
        assert settings.augment
        context = StepContext(0, 0.0, torch.Generator().manual_seed(3))
        logits = judge_projected(pictures, images, c, chosen, context).logits
        assert torch.allclose(logits, pictures(images, c).logits) is not augment
