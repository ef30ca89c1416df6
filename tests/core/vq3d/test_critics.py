"""VQ3D's critics: what they see, what they pay, what they ask of the tokenizer, and perceptual distances."""

import sys

import pytest
import torch
from torch.nn import functional as F

from gp3d_core.rng import generator_for
from gp3d_core.vq3d.models.critic import Critics
from gp3d_core.vq3d.models.perception import PerceptionError, feature_distance, open_lpips
from gp3d_core.vq3d.models.tokenizer import Tokenizer
from gp3d_core.vq3d.presets import resolve
from gp3d_core.vq3d.training.objective import Fakes, Phase, Pictures, critic_phase, tokenizer_phase

SMALL = (
    "training.resolution=16",
    "encoder.patch=4",
    "render.steps=8",
    "decoder.layers=1",
    "training.batch=4",
    "critic.channel_base=64",
    "critic.channel_max=8",
)


def judges(*more):
    torch.manual_seed(0)
    return Critics(resolve("tiny32", [*SMALL, *more]))


def noise(*shape, seed=0):
    return torch.rand(*shape, generator=generator_for(seed, "noise"))


def test_critics_see_colour_and_softened_disparity():
    rgb, disparity = noise(2, 3, 16, 16), torch.zeros(2, 16, 16)
    disparity[:, 8, 8] = 0.9
    seen = judges().as_seen(rgb, disparity)
    assert torch.allclose(seen[:, :3], rgb * 2 - 1)
    expected = torch.full((2, 16, 16), -1.0)
    expected[:, 7:10, 7:10] = 0.1 * 2 - 1
    assert torch.allclose(seen[:, 3], expected, atol=1e-6)
    flat = judges().as_seen(rgb, torch.full((2, 16, 16), 0.3))[:, 3]
    assert torch.allclose(flat, torch.full_like(flat, -0.4))
    assert judges("critic.rgbd=false").as_seen(rgb, disparity).shape == (2, 3, 16, 16)


def test_critics_of_both_views_are_two_unless_they_share_their_trunk():
    pictures = noise(4, 4, 16, 16)
    for critics, shared in ((judges(), False), (judges("critic.shared=true"), True)):
        main, novel = critics(pictures, novel=False), critics(pictures, novel=True)
        assert not torch.equal(main.logits, novel.logits)
        assert torch.equal(main.features[0], novel.features[0]) == shared


def test_critics_pay_for_both_views_and_for_their_slope_at_real_pictures():
    critics = judges()
    real, main, novel = (noise(4, 4, 16, 16, seed=k) * 2 - 1 for k in range(3))
    plain, slopes = 0.0, 0.0
    for fake, which in ((main, False), (novel, True)):
        at = real.clone().requires_grad_()
        logits = critics(at, novel=which).logits
        (slope,) = torch.autograd.grad(logits.sum(), at)
        slopes += float(slope.square().sum(dim=(1, 2, 3)).mean())
        on_fake = critics(fake, novel=which).logits
        plain += float((F.softplus(-logits).mean() + F.softplus(on_fake).mean()).detach())
    fakes = Fakes(real, main, novel)
    paid = [critic_phase(critics, fakes, r1_gamma=gamma)[0].item() for gamma in (0.0, 3.0)]
    assert paid == pytest.approx([plain, plain + 1.5 * slopes], rel=1e-5)
    _, log = critic_phase(critics, Fakes(real, None, novel), r1_gamma=3.0)
    assert {"loss/r1_novel", "scores/novel_real"} < set(log)
    assert not [name for name in log if "main" in name]


def step(lpips=None, *more):
    """The log of a step of the tokenizer, what the critics saw, and the weights of its terms."""
    config = resolve("tiny32", [*SMALL, *more])
    torch.manual_seed(0)
    tokenizer, critics = Tokenizer(config), Critics(config)
    pictures = Pictures(noise(4, 3, 16, 16), noise(4, 16, 16))
    phase = Phase.at(config, 0.5)
    loss, log, fakes, _ = tokenizer_phase(tokenizer, critics, pictures, phase, generator_for(0), lpips)
    return loss.item(), {name: value.item() for name, value in log.items()}, fakes, critics, config.loss


def test_critics_ask_to_be_convinced_and_their_features_to_be_met():
    loss, log, fakes, critics, weight = step()
    with torch.no_grad():
        main, novel = critics(fakes.main, novel=False), critics(fakes.novel, novel=True)
        real = critics(fakes.real, novel=False)
    assert log["loss/adversarial"] == pytest.approx(float(F.softplus(-main.logits).mean()), rel=1e-4)
    assert log["loss/novel"] == pytest.approx(float(F.softplus(-novel.logits).mean()), rel=1e-4)
    off = [float((a - b).abs().mean()) for a, b in zip(main.features, real.features, strict=True)]
    assert log["loss/perceptual"] == pytest.approx(sum(off) / len(off), rel=1e-3)
    names = ("mse", "l1", "vq", "depth", "adversarial", "novel", "smooth")
    whole = sum(getattr(weight, name) * log[f"loss/{name}"] for name in names)
    assert loss == pytest.approx(whole + weight.perceptual_weight * log["loss/perceptual"], rel=1e-5)


def test_lpips_takes_the_place_of_features():
    _, log, _, _, _ = step(lambda one, other: 7 + 0 * (one - other).mean(), "loss.perceptual=lpips")
    assert log["loss/perceptual"] == 7.0


def test_feature_distance_teaches_the_fake_side_alone():
    fake, real = noise(2, 3, 4, 4).requires_grad_(), noise(2, 3, 4, 4, seed=1).requires_grad_()
    feature_distance([fake, 2 * fake], [real, real]).backward()
    assert real.grad is None
    assert (fake.grad != 0).all()


def test_lpips_that_is_not_there_names_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "lpips", None)
    with pytest.raises(PerceptionError, match=r"pip install lpips, or use `loss.perceptual`=features"):
        open_lpips(torch.device("cpu"))
