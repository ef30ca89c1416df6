"""How a step is put together: optimisers, rhythm, streams and files; micro-batches; a recorded step; resuming.

The networks are real here, and small. What the phases themselves do is in test_phases.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from gp3d_core import augmentation, phases, training
from gp3d_core.config import Ramp
from gp3d_core.data import Batch, Dataset, batches
from gp3d_core.distributed import World
from gp3d_core.guard import DivergenceGuard
from gp3d_core.monitoring import Monitor
from gp3d_core.networks.depth_adaptor import DepthAdaptor
from gp3d_core.networks.discriminator import Discriminator
from gp3d_core.networks.generator import Generator
from gp3d_core.phases import Latents, Moment, discriminator_phase, generator_phase, r1_phase
from gp3d_core.snapshot import load_snapshot
from gp3d_core.training import TrainState, train_step
from tests.core.kinks import either_side_of_kinks
from tests.core.micro import micro_config, micro_data, micro_state
from tests.core.parity_fixtures import Case, load_case
from tests.core.parity_names import (
    CLASSES,
    CONFIG,
    DISCRIMINATOR_NAMES,
    FEATURES,
    GENERATOR_NAMES,
    PENALISED,
    check_norms,
    load_weights,
)
from tests.core.test_training import StopAfter, run
from tests.core.tiny_dataset import write_dataset

PAIRS = ("training.micro_batch=2", "patch.group=2", "discriminator.mbstd_group=2")  # two micro-batches of two


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return micro_data(tmp_path_factory.mktemp("data"))


def first_batch(dataset: Dataset, count: int = 4) -> Batch:
    return next(batches(dataset, nimg=0, batch=count, part=slice(0, count), seed=0, mirror=True))


def moment(nimg: int = 0) -> Moment:
    return Moment(nimg, 0.0, torch.Generator().manual_seed(1))


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
    logged = ["loss/r1_penalty" in train_step(state, batch, World())[0] for _ in range(7)]
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

        monkeypatch.setattr(training, phase.__name__, noted)
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
    step, judge = training.train_step, DivergenceGuard.judge

    def noted(state: TrainState, batch: Batch, world: World) -> tuple:
        key = (state.nimg, state.rollbacks)
        done = []
        met[key] = (latents_met(state, batch, lambda *given: done.append(step(*given)))[0][0], batch.images)
        return done[0]

    def judged(self: DivergenceGuard, log: dict, *, skipped: bool) -> str | None:
        trouble = troubles.pop(list(met)[-1], None)
        return trouble or judge(self, log, skipped=skipped)

    monkeypatch.setattr(training, "train_step", noted)
    monkeypatch.setattr(DivergenceGuard, "judge", judged)
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
    "ada": ("loss.augmentation=ada", "loss.augmentation_target=-2"),
    "l2_squared": ("loss.distillation=l2_squared", "loss.distillation_weight.kimg=0.02"),
    "kl": ("loss.distillation=kl", "loss.distillation_by_scale=false"),
    "cameras": (
        "camera_generator.adjust=angles,fov",
        "camera_generator.regulariser=gradient_penalty",
        "camera_generator.residual=true",
    ),
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


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_option_resumes_exactly_and_takes_effect(
    variant: str, tmp_path: Path, dataset: Dataset, featured: Dataset, outcomes: dict, monkeypatch
) -> None:
    """Stopped after two of five steps: the probability of `ada` has then seen half of what it moves by."""
    monkeypatch.setattr(
        augmentation, "KIMG_TO_CERTAINTY", 0.02
    )  # 4 steps of 4 images: to a probability of 0.8
    monkeypatch.setattr(Monitor, "picture", lambda *_: None)
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
    return slope * sum(p.sum() for p in module.parameters()), {"scores/real_sign": torch.zeros(())}


def test_every_update_gets_the_mean_over_micro_batches(tmp_path, dataset, monkeypatch) -> None:
    """Every phase's loss has the gradient 1, 2 or 4 for all weights of its player, in both micro-batches."""
    state, caught = micro_state(tmp_path, *PAIRS), []

    for optimizer in state.optimizers.values():
        weights = optimizer.param_groups[0]["params"]
        monkeypatch.setattr(
            optimizer, "step", lambda weights=weights: caught.append({p.grad.mean().item() for p in weights})
        )
    monkeypatch.setattr(training, "generator_phase", lambda g, *_: slope_of(g, 1.0))
    monkeypatch.setattr(training, "discriminator_phase", lambda g, d, *_: slope_of(d, 2.0))
    monkeypatch.setattr(training, "r1_phase", lambda d, *_: slope_of(d, 4.0))
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
    config = micro_config("training.batch=8", "training.micro_batch=8", *more)
    state = training.build_state(config, featured, World())
    generator, discriminator = state.generator.eval(), state.discriminator
    latents = phases.sample_latents(config, state.labels, 2, 8, moment())
    real_patches = phases.sample_patches(config.patch, 8, 0, 16, torch.Generator().manual_seed(5))
    assert not torch.equal(real_patches.scales[0], real_patches.scales[4])
    module = generator if phase == "generator" else discriminator

    def gradient(parts: list[tuple[Latents, Batch]]) -> dict[str, Tensor]:
        queue = [real_patches] if len(parts) == 1 else [real_patches[:4], real_patches[4:]]
        monkeypatch.setattr(phases, "sample_patches", lambda *_: queue.pop(0))
        module.zero_grad(set_to_none=True)
        for fakes, reals in parts:
            if phase == "generator":
                loss, _ = generator_phase(generator, discriminator, fakes, config, moment())
            elif phase == "discriminator":
                loss, _ = discriminator_phase(generator, discriminator, fakes, reals, config, moment())
            else:
                loss, _ = r1_phase(discriminator, reals, config, moment())
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


# A recorded step


@pytest.fixture
def case05(fixtures_dir: Path) -> Case:
    return load_case(fixtures_dir, "case05_camera")


@pytest.fixture
def case10(fixtures_dir: Path) -> Case:
    return load_case(fixtures_dir, "case10_training_step")


@pytest.fixture
def generator(fixtures_dir: Path) -> Generator:
    """The recorded generator without noise, in evaluation mode, where nothing is drawn."""
    network = Generator(CONFIG, CLASSES).eval()
    load_weights(network, load_case(fixtures_dir, "G_weights").under("param:"), GENERATOR_NAMES)
    for name, parameter in network.named_parameters():
        parameter.data *= not name.endswith("noise_strength")
    return network


@pytest.fixture
def discriminator(fixtures_dir: Path) -> Discriminator:
    network = Discriminator(CONFIG, CLASSES, FEATURES)
    load_weights(network, load_case(fixtures_dir, "D_weights").under("param:"), DISCRIMINATOR_NAMES)
    return network


def recorded_latents(generator: Generator, case: Case, phase: str) -> Latents:
    """Latents of a recorded phase; the generator then shows the depths that were shown."""
    adaptor, choice = generator.depth_adaptor, case[f"{phase}.depth_choice"]
    adaptor.select = lambda maps, _: DepthAdaptor.select(adaptor, maps, choice)
    prior, patches = case.cameras("G.gen.cam_prior."), case.patches(f"{phase}.Dcall0.")
    return Latents(case["G.gen.z"], case["G.gen.c"], prior, patches)


def recorded_reals(case: Case, call: str, monkeypatch: pytest.MonkeyPatch) -> Batch:
    """The real pictures; the phase then draws the recorded patches."""
    monkeypatch.setattr(phases, "sample_patches", lambda *_: case.patches(f"{call}."))
    labels = case["G.real.c"].argmax(dim=1)
    return Batch(case["G.real.img"], case["G.real.depth"], labels, case["G.real.embs"])


@either_side_of_kinks
def test_generator_phase_is_the_recorded_one(generator, discriminator, case05, case10, close) -> None:
    latents, when = recorded_latents(generator, case10, "G"), moment(int(1000 * case10.meta["kimg"]))
    cameras, terms = generator.camera_generator, {}
    for config, names in ((cameras.config, ("emd", "force_mean")), (PENALISED, ("lipschitz", "force_mean"))):
        samples = [(case05.cameras(f"{n}.prior."), case05[f"{n}.z"], case05[f"{n}.c"]) for n in names]
        cameras.config, cameras._sample = config, lambda *_, samples=samples: samples.pop(0)
        loss, log = generator_phase(generator, discriminator, latents, CONFIG, when)
        terms |= log | {"total": loss} if names[0] == "emd" else log
    close(terms["loss/generator"], case10["G.Loss.G.loss"].mean())
    close(terms["cameras/emd"], case10["G.Loss.camera_dist.emd_loss"][0])
    close(terms["cameras/force_mean"], case10["G.Loss.camera_dist.force_mean"][0])
    close(terms["cameras/gradient_penalty"], case10["G.Loss.camera_dist.lipschitz_loss"][0])
    (terms["total"] + terms["cameras/gradient_penalty"]).backward()
    recorded = case10.meta["G.gradnorms"]
    for name, parameter in generator.named_parameters():  # the noise maps were not recorded
        parameter.grad = None if name.endswith("noise_strength") else parameter.grad
    check_norms(generator, {n: v for n, v in recorded.items() if "noise_strength" not in n}, GENERATOR_NAMES)


@pytest.mark.parametrize(("phase", "start"), [("Dmain", 0.0), ("Dmain_blur", 10.0)])
@either_side_of_kinks
def test_discriminator_phase_is_the_recorded_one(
    generator, discriminator, case10, close, monkeypatch, phase, start
) -> None:
    kimg, weight = case10.meta["kimg"], case10.meta["D_kd_weight"]
    nimg = case10.meta["blur_nimg"] if start else int(1000 * kimg)
    blur, constant = Ramp(start=start, end=0.0, kimg=200), Ramp(start=weight, end=weight)
    config = replace(CONFIG, loss=replace(CONFIG.loss, blur=blur, distillation_weight=constant))
    latents = recorded_latents(generator, case10, phase)
    reals = recorded_reals(case10, f"{phase}.Dcall1", monkeypatch)
    loss, log = discriminator_phase(generator, discriminator, latents, reals, config, moment(nimg))
    close(log["loss/discriminator"], case10[f"{phase}.Loss.D.loss"].mean())
    close(log["loss/distillation"], case10[f"{phase}.Loss.kd.D_dist"].mean())
    close(loss, (case10[f"{phase}.Loss.D.loss"] + case10[f"{phase}.Loss.kd.D_loss"]).mean())
    loss.backward()
    check_norms(discriminator, case10.meta[f"{phase}.gradnorms"], DISCRIMINATOR_NAMES)


@either_side_of_kinks
def test_r1_phase_is_the_recorded_one(discriminator, case10, close, monkeypatch) -> None:
    config = replace(CONFIG, loss=replace(CONFIG.loss, r1_gamma=case10.meta["r1_gamma"]))
    reals = recorded_reals(case10, "Dreg.Dcall0", monkeypatch)
    loss, log = r1_phase(discriminator, reals, config, moment(int(1000 * case10.meta["kimg"])))
    close(log["loss/r1_penalty"], case10["Dreg.Loss.D.r1_penalty"].mean())
    close(loss, 16 * case10["Dreg.Loss.D.reg"].mean())
    loss.backward()
    check_norms(discriminator, case10.meta["Dreg.gradnorms"], DISCRIMINATOR_NAMES)
