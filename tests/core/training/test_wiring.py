"""How a step is put together: optimisers, rhythm, streams, snapshots, micro-batches, and resuming with every option.

The networks are real here, and small. What the phases themselves do is in test_phases.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gp3d_core.datasets.dataset import Batch, Dataset, batches
from gp3d_core.distributed import World
from gp3d_core.networks.latents import Latents, sample_latents
from gp3d_core.snapshots.snapshot import load_snapshot
from gp3d_core.training import augmentation, phases
from gp3d_core.training import gan as training
from gp3d_core.training.divergence import DivergenceGuard
from gp3d_core.training.gan import TrainState, train_step
from gp3d_core.training.gan_monitor import GanMonitor
from gp3d_core.training.phases import StepContext, discriminator_phase, generator_phase, r1_phase
from gp3d_core.training.systems import patches
from tests.support.micro import CAMERA_GENERATOR, StopAfter, micro_config, micro_data, micro_state, run
from tests.support.tiny_dataset import write_dataset

PAIRS = ("training.micro_batch=2", "patch.group=2", "discriminator.mbstd_group=2")  # two micro-batches of two


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return micro_data(tmp_path_factory.mktemp("data"))


def first_batch(dataset: Dataset, count: int = 4) -> Batch:
    return next(batches(dataset, nimg=0, batch=count, part=slice(0, count), seed=0, mirror=True))


def context() -> StepContext:
    return StepContext(0, 0.0, torch.Generator().manual_seed(1))


# One step


def test_optimisers_are_adam_and_the_discriminators_is_corrected_for_lazy_r1(tmp_path: Path) -> None:
    """r1_interval + 1 updates take the place of r1_interval, so learning rate and betas shrink with 16/17."""
    state = micro_state(tmp_path, "loss.r1_interval=16")
    (generator,), (discriminator,) = (optimizer.param_groups for optimizer in state.optimizers.values())
    assert isinstance(state.generator_optimizer, torch.optim.Adam)
    assert isinstance(state.discriminator_optimizer, torch.optim.Adam)
    assert generator["lr"] == pytest.approx(0.0025)
    assert generator["betas"] == pytest.approx((0.0, 0.99))
    assert discriminator["lr"] == pytest.approx(0.002 * 16 / 17)
    assert discriminator["betas"] == pytest.approx((0.0, 0.99 ** (16 / 17)))
    for group, module in ((generator, state.generator), (discriminator, state.discriminator)):
        assert group["eps"] == 1e-8
        assert group["weight_decay"] == 0
        assert [id(p) for p in group["params"]] == [id(p) for p in module.parameters()]


def test_r1_comes_every_interval_and_with_an_update_of_its_own(tmp_path, dataset, monkeypatch) -> None:
    state, batch = micro_state(tmp_path, "loss.r1_interval=3"), first_batch(dataset)
    updates = []
    step = state.discriminator_optimizer.step
    monkeypatch.setattr(state.discriminator_optimizer, "step", lambda: (updates.append(state.nimg), step()))
    logged = ["loss/r1_penalty" in train_step(state, batch, World()).read()[0] for _ in range(7)]
    assert logged == [True, False, False, True, False, False, True]
    assert updates == [0, 0, 4, 8, 12, 12, 16, 20, 24, 24]


def test_players_learn_in_their_own_phase_only(tmp_path, dataset, monkeypatch) -> None:
    """In the generator's phase the discriminator stays, and the other way round."""
    state, seen = micro_state(tmp_path), {}
    for phase in (generator_phase, discriminator_phase, r1_phase):

        def noted(*given: object, phase: Callable = phase, name: str = phase.__name__) -> object:
            modules = {"generator": state.generator, "discriminator": state.discriminator}
            seen[name] = {k for k, m in modules.items() if all(p.requires_grad for p in m.parameters())}
            return phase(*given)

        monkeypatch.setattr(patches, phase.__name__, noted)
    train_step(state, first_batch(dataset), World())
    assert seen == {
        "generator_phase": {"generator"},
        "discriminator_phase": {"discriminator"},
        "r1_phase": {"discriminator"},
    }


def latents_met(state: TrainState, batch: Batch, step: Callable = train_step) -> list[tuple[Tensor, Tensor]]:
    """Noise and classes that the generator gets in one step."""
    met: list[tuple[Tensor, Tensor]] = []
    hook = state.generator.register_forward_pre_hook(lambda _, given: met.append(given[:2]))
    step(state, batch, World())
    hook.remove()
    return met


def test_phases_and_micro_batches_have_latents_of_their_own(tmp_path, dataset) -> None:
    state = micro_state(tmp_path, *PAIRS)
    state.labels = torch.ones_like(state.labels)
    met = latents_met(state, first_batch(dataset)) + latents_met(state, first_batch(dataset))
    noise = torch.stack([z for z, _ in met])
    assert noise.shape[:2] == (8, 2)  # two players, two micro-batches, two steps
    assert len(noise.flatten(0, 1).unique(dim=0)) == 16
    for _, classes in met:  # classes are drawn from the data's
        assert classes.tolist() == [[0.0, 1.0]] * 2


def test_average_code_moves_by_the_mean_of_the_whole_batch(tmp_path, dataset) -> None:
    state = micro_state(tmp_path, *PAIRS)
    state.generator_optimizer.step = lambda: None
    fakes = latents_met(state, first_batch(dataset))[2:]
    codes = torch.cat([state.generator.mapping.network(z, c) for z, c in fakes])
    torch.testing.assert_close(state.generator.mapping.w_avg, 0.002 * codes.mean(dim=0), rtol=1e-3, atol=1e-7)


# A run


def test_snapshot_holds_the_averaged_weights(tmp_path: Path, dataset: Dataset) -> None:
    state = run(tmp_path, dataset, micro_config("training.kimg=0.008", "training.ema_rampup=5"))
    (path,) = (tmp_path / "snapshots").glob("*.safetensors")
    saved = load_snapshot(path).generator.state_dict()
    for name, tensor in state.ema.state_dict().items():
        assert torch.equal(saved[name], tensor), name
    moved = dict(state.generator.named_parameters())
    assert all(
        not torch.equal(saved[name], moved[name]) for name in ("backbone.const", "decoder.output.weight")
    )


def test_run_goes_on_with_other_randomness_after_a_rollback(tmp_path, dataset, monkeypatch) -> None:
    """The step that failed comes again with the same pictures and other latents."""
    met: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}
    troubles = {(4, 0): "made up"}
    step, check_step = training.train_step, DivergenceGuard.check_step

    def noted(state: TrainState, batch: Batch, world: World) -> tuple:
        key = (state.nimg, state.rollbacks)
        done = []
        met[key] = (latents_met(state, batch, lambda *given: done.append(step(*given)))[0][0], batch.images)
        return done[0]

    def checked(self: DivergenceGuard, log: dict, *, skipped: bool) -> str | None:
        trouble = troubles.pop(list(met)[-1], None)
        return trouble or check_step(self, log, skipped=skipped)

    monkeypatch.setattr(training, "train_step", noted)
    monkeypatch.setattr(DivergenceGuard, "check_step", checked)
    state = run(tmp_path, dataset, micro_config("training.kimg=0.012", "training.checkpoint_kimg=0.004"))
    assert (state.nimg, state.rollbacks) == (12, 1)
    assert list(met) == [(0, 0), (4, 0), (4, 1), (8, 1)]
    failed, repeated = met[4, 0], met[4, 1]
    assert torch.equal(failed[1], repeated[1])
    assert not torch.isclose(failed[0], repeated[0]).any()


# Stopping and resuming


VARIANTS = {
    "plain": (),
    "hinge": ("loss.adversarial=hinge",),
    "fixed": ("loss.augmentation=fixed", "loss.augmentation_probability=0.5"),
    "ada": ("loss.augmentation=ada", "loss.augmentation_target=-1"),
    "l2_squared": ("loss.distillation=l2_squared", "loss.distillation_weight.kimg=0.02"),
    "kl": ("loss.distillation=kl", "loss.distillation_by_scale=false"),
    "cameras": (
        "camera_generator.adjust=angles,fov",
        "camera_generator.regulariser=gradient_penalty",
        "camera_generator.residual=true",
    ),
    "camera angles": CAMERA_GENERATOR,
    "density_noise": ("render.density_noise.start=2", "render.density_noise.kimg=0.02"),
}


@pytest.fixture(scope="module")
def featured(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The same pictures with a file of features."""
    folder = write_dataset(tmp_path_factory.mktemp("featured"), images=8, resolution=16)
    table = np.random.default_rng(1).normal(size=(8, 5)).astype(np.float32)
    (folder.parent / "net.dat").write_bytes(table.tobytes())
    rows = {name: 7 - i for i, name in enumerate(Dataset(folder).names)}
    facts = {"shape": table.shape, "filepath_to_idx": rows}
    (folder.parent / "net_desc.json").write_text(json.dumps(facts))
    return Dataset(folder, features=folder.parent / "net.dat")


def everything(state: TrainState) -> dict[str, Tensor]:
    """All weights, moments, and the augmentation."""
    found = {f"{n}.{k}": v.clone() for n, m in state.modules.items() for k, v in m.state_dict().items()}
    for name, optimizer in state.optimizers.items():
        for index, moments in optimizer.state_dict()["state"].items():
            found |= {f"{name}.{index}.{key}": value for key, value in moments.items()}
    found["augmentation"] = torch.tensor(state.augmentation.probability, dtype=torch.float64)
    return found


@pytest.fixture(scope="module")
def outcomes() -> dict[str, Tensor]:
    """A weight of every finished variant, by the variant's name."""
    return {}


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_option_resumes_exactly_and_takes_effect(
    variant: str, tmp_path: Path, dataset: Dataset, featured: Dataset, outcomes: dict, monkeypatch
) -> None:
    """Stopped after two of five steps: the probability of `ada` has then seen half of what it moves by."""
    monkeypatch.setattr(
        augmentation, "KIMG_TO_CERTAINTY", 0.02
    )  # 4 steps of 4 images: to a probability of 0.8
    monkeypatch.setattr(GanMonitor, "picture", lambda *_: None)
    data = featured if "distillation" in "".join(VARIANTS[variant]) else dataset
    config = micro_config("training.kimg=0.02", "training.checkpoint_kimg=1", *VARIANTS[variant])
    whole = run(tmp_path / "whole", data, config)
    stopped = run(tmp_path / "parts", data, config, StopAfter(2))
    assert 0 < stopped.nimg < whole.nimg == 20
    resumed = everything(run(tmp_path / "parts", data, config))
    for name, tensor in everything(whole).items():
        assert torch.equal(resumed[name], tensor), name
    expected = {"fixed": 0.5, "ada": 0.8}.get(variant, 0.0)
    assert whole.augmentation.probability == pytest.approx(expected)
    outcome = torch.cat(
        [resumed["discriminator.fc.weight"].flatten(), resumed["ema.backbone.const"].flatten()]
    )
    for other, weights in outcomes.items():
        assert not torch.allclose(outcome, weights, atol=1e-7), f"{variant} trains like {other}"
    outcomes[variant] = outcome


# Micro-batches


def slope_of(module: nn.Module, slope: float) -> tuple[Tensor, phases.Log]:
    """A loss with this gradient for every weight, and what a step needs of a log."""
    return sum((slope * p).sum() for p in module.parameters()), {"scores/real_sign": torch.zeros(())}


def test_every_update_gets_the_mean_over_micro_batches(tmp_path, dataset, monkeypatch) -> None:
    """Every phase's loss has the gradient 1, 2 or 4 for all weights of its player, in both micro-batches."""
    state, caught = micro_state(tmp_path, *PAIRS), []

    for optimizer in state.optimizers.values():
        weights = optimizer.param_groups[0]["params"]
        monkeypatch.setattr(
            optimizer, "step", lambda weights=weights: caught.append({p.grad.mean().item() for p in weights})
        )
    monkeypatch.setattr(patches, "generator_phase", lambda g, *_: slope_of(g, 1.0))
    monkeypatch.setattr(patches, "discriminator_phase", lambda g, d, *_: slope_of(d, 2.0))
    monkeypatch.setattr(patches, "r1_phase", lambda d, *_: slope_of(d, 4.0))
    train_step(state, first_batch(dataset), World())
    assert caught == [{1.0}, {2.0}, {4.0}]


def halves(latents: Latents, batch: Batch) -> list[tuple[Latents, Batch]]:
    parts = (slice(0, 4), slice(4, 8))
    return [
        (
            Latents(latents.z[k], latents.c[k], latents.prior[k], latents.patches[k]),
            Batch(batch.images[k], batch.depth[k], batch.labels[k], batch.features[k]),
        )
        for k in parts
    ]


@pytest.mark.parametrize("phase", ["generator", "discriminator", "r1"])
def test_accumulated_micro_batches_have_the_gradient_of_the_big_batch(phase, featured, monkeypatch) -> None:
    """Same latents, patches and pictures, at once or in halves; evaluation mode, so that nothing else is drawn."""
    more = ("patch.beta.start=0.8", "loss.distillation_by_scale=false", "loss.blur.start=0.5")
    exact = "training.precision=float32"
    config = micro_config("training.batch=8", "training.micro_batch=8", exact, *more)
    state = training.build_state(config, featured, World())
    generator, discriminator = state.generator.eval(), state.discriminator
    latents = sample_latents(config, state.labels, 2, 8, nimg=context().nimg, generator=context().rng)
    real_patches = phases.sample_patches(config.patch, 8, 0, 16, torch.Generator().manual_seed(5))
    assert not torch.equal(real_patches.scales[0], real_patches.scales[4])
    module = generator if phase == "generator" else discriminator

    def gradient(parts: list[tuple[Latents, Batch]]) -> dict[str, Tensor]:
        queue = [real_patches] if len(parts) == 1 else [real_patches[:4], real_patches[4:]]
        monkeypatch.setattr(phases, "sample_patches", lambda *_: queue.pop(0))
        module.zero_grad(set_to_none=True)
        for fakes, reals in parts:
            if phase == "generator":
                loss, _ = generator_phase(generator, discriminator, fakes, config, context())
            elif phase == "discriminator":
                loss, _ = discriminator_phase(generator, discriminator, fakes, reals, config, context())
            else:
                loss, _ = r1_phase(discriminator, reals, config, context())
            (loss / len(parts)).backward()
        return {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}

    batch = first_batch(featured, 8)
    big, accumulated = gradient([(latents, batch)]), gradient(halves(latents, batch))
    assert big.keys() == accumulated.keys()
    largest = max(value.abs().max().item() for value in big.values())
    assert largest > 1e-4
    for name, value in big.items():
        slack = 1e-4 * value.abs().max().item() + 1e-6 * largest
        torch.testing.assert_close(accumulated[name], value, rtol=1e-4, atol=slack, msg=name)
