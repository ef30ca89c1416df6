"""VQ3D's codebook: nearest by cosine, straight-through gradients, the loss, its start, and the dead that rise."""

import pytest
import torch
from torch.nn import functional as F

from gp3d_core.rng import generator_for
from gp3d_core.vq3d.config import CodebookConfig
from gp3d_core.vq3d.models.codebook import Codebook, usage


def book(size=32, width=4, **settings):
    torch.manual_seed(0)
    return Codebook(CodebookConfig(size=size, width=width, **settings))


def tokens(*shape, seed=0, requires_grad=False):
    return torch.randn(*shape, generator=generator_for(seed, "tokens")).requires_grad_(requires_grad)


def test_code_is_the_nearest_on_the_sphere():
    codebook, x = book(), tokens(3, 7, 4)
    codes, quantised, continuous, _ = codebook(x)
    unit, table = F.normalize(x, dim=-1), F.normalize(codebook.codes, dim=-1)
    distance = (unit[:, :, None] - table).square().sum(dim=-1)
    assert torch.equal(codes, distance.argmin(dim=-1))
    assert torch.allclose(quantised, table[codes], atol=1e-6)
    assert torch.allclose(continuous, unit)
    assert torch.allclose(quantised.norm(dim=-1), torch.ones(3, 7), atol=1e-6)
    assert torch.equal(codes, codebook(5 * x)[0])
    assert torch.allclose(codebook.look_up(codes), quantised, atol=1e-6)


def test_gradient_passes_straight_through():
    codebook, x = book(), tokens(2, 5, 4, requires_grad=True)
    _, quantised, continuous, _ = codebook(x)
    wanted = torch.randn(2, 5, 4)
    (through,) = torch.autograd.grad((quantised * wanted).sum(), x, retain_graph=True)
    (plain,) = torch.autograd.grad((continuous * wanted).sum(), x)
    assert torch.equal(through, plain)


def test_loss_pulls_codes_fully_and_points_by_the_commitment():
    codebook, x = book(commitment=0.25), tokens(2, 5, 4, requires_grad=True)
    codes, _, _, loss = codebook(x)
    unit, chosen = F.normalize(x, dim=-1), F.normalize(codebook.codes, dim=-1)[codes]
    squared = (unit - chosen).square().mean()
    assert torch.allclose(loss, 1.25 * squared)
    of_points, of_codes = torch.autograd.grad(loss, (x, codebook.codes), retain_graph=True)
    full_points, full_codes = torch.autograd.grad(squared, (x, codebook.codes))
    assert torch.allclose(of_points, 0.25 * full_points, atol=1e-7)
    assert torch.allclose(of_codes, full_codes, atol=1e-7)


def test_start_takes_codes_from_the_data_once():
    codebook, x = book(), tokens(8, 16, 4) * 0.3 + torch.tensor([3.0, 0.0, 0.0, 0.0])
    codebook.eval()
    before = usage(codebook(x)[0], 32)[0]
    codebook.start(x, generator_for(0, "start"))
    assert (codebook.unit_codes()[:, 0] > 0.8).all()
    assert usage(codebook(x)[0], 32)[0] > 0.4 > 0.2 > before
    started = codebook.codes.clone()
    codebook.start(tokens(8, 16, 4), generator_for(1, "start"))
    assert torch.equal(codebook.codes, started)


@pytest.mark.slow
@pytest.mark.parametrize("few", [1, 100])
def test_dead_codes_rise_and_the_living_stay(few):
    codebook, x = book(), 0.5 * tokens(2, few, 4, seed=3) + torch.tensor([1.5, 0.0, 0.0, 0.0])
    optimizer = torch.optim.AdamW(codebook.parameters(), 1e-3)
    for _ in range(2):
        optimizer.zero_grad()
        codebook(x)[3].backward()
        optimizer.step()
    living = torch.unique(codebook(x)[0])
    codebook.uses.zero_()
    codebook(x)
    kept = codebook.codes.detach()[living].clone()
    moments = optimizer.state[codebook.codes]
    moments["exp_avg"].fill_(1.0)
    dead = torch.ones(32, dtype=torch.bool)
    dead[living] = False
    assert codebook.revive(x, generator_for(0, "revive"), optimizer) == int(dead.sum())
    assert torch.equal(codebook.codes[living], kept)
    nearest = (codebook.unit_codes()[dead] @ F.normalize(x, dim=-1).flatten(0, 1).T).max(dim=1).values
    assert (nearest > 0.99).all()
    assert torch.equal(moments["exp_avg"] == 0, dead[:, None].expand(-1, 4))
    assert codebook.uses.sum() == 0
    if few == 100:
        assert usage(codebook(x)[0], 32)[0] > len(living) / 32


def test_uses_are_counted_only_while_training():
    codebook, x = book(), tokens(2, 5, 4)
    codebook.eval()
    codebook(x)
    assert codebook.uses.sum() == 0
    codebook.train()
    codebook(x)
    assert codebook.uses.sum() == 10


def test_codes_that_do_not_exist_are_refused():
    with pytest.raises(ValueError, match="codes from 0 to 31, found 3 to 32"):
        book().look_up(torch.tensor([3, 32]))
    with pytest.raises(ValueError, match="found -1 to 3"):
        book().look_up(torch.tensor([3, -1]))


def test_usage_and_perplexity_have_their_extremes():
    assert usage(torch.zeros(4, 9, dtype=torch.long), 10) == pytest.approx((0.1, 1.0))
    assert usage(torch.arange(10), 10) == pytest.approx((1.0, 10.0))
