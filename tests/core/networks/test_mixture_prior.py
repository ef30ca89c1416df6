"""The mixture around known latents: closed forms of its mean, covariance and masses."""

from __future__ import annotations

import pytest
import torch

from gp3d_core.networks.mapping import Mapping
from gp3d_core.networks.mixture_prior import MixturePrior

COUNTS = (5, 40)
Z = 6
BANDWIDTH = 0.4


@pytest.fixture(scope="module")
def latents() -> torch.Tensor:
    draws = torch.Generator().manual_seed(0)
    spread = torch.randn(Z, Z, generator=draws)
    return torch.randn(sum(COUNTS), Z, generator=draws) @ spread + torch.arange(Z)


@pytest.fixture(scope="module")
def labels() -> torch.Tensor:
    labels = torch.tensor([0] * COUNTS[0] + [1] * COUNTS[1])
    return labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(1))]


@pytest.fixture(scope="module")
def prior(latents: torch.Tensor, labels: torch.Tensor) -> MixturePrior:
    prior = MixturePrior(len(labels), len(COUNTS), Z)
    prior.set_known(latents, labels, BANDWIDTH)
    return prior


def noise(count: int) -> torch.Tensor:
    return torch.randn(count, Z, generator=torch.Generator().manual_seed(2))


def distances(drawn: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    return torch.cdist(drawn, known, compute_mode="donot_use_mm_for_euclid_dist")


@pytest.mark.parametrize("label", [0, 1])
def test_mean_and_covariance_are_those_of_the_class(prior, latents, labels, label):
    """Silverman's shrinkage keeps both, whatever the bandwidth."""
    drawn = prior(noise(400_000), torch.full((400_000,), label))
    known = latents[labels == label]
    scale = float(known.std())
    torch.testing.assert_close(drawn.mean(dim=0), known.mean(dim=0), atol=0.02 * scale, rtol=0)
    expected = torch.cov(known.T, correction=0)
    torch.testing.assert_close(torch.cov(drawn.T), expected, atol=0.03 * scale**2, rtol=0)


@pytest.mark.parametrize("label", [0, 1])
def test_without_spread_every_known_object_comes_equally_often(prior, latents, labels, label):
    drawn = prior(noise(40_000), torch.full((40_000,), label), spread=0.0)
    known = latents[labels == label]
    distance, nearest = distances(drawn, known).min(dim=1)
    assert float(distance.max()) < 1e-4
    share = torch.bincount(nearest, minlength=len(known)) / 40_000
    deviation = (1 / len(known) / 40_000) ** 0.5
    assert float((share - 1 / len(known)).abs().max()) < 5 * deviation


def test_extreme_noise_stays_finite_and_within_its_class(prior, latents, labels):
    z = torch.tensor([[-40.0], [40.0], [0.0]]).expand(-1, Z)
    for label in (0, 1):
        drawn = prior(z, torch.full((3,), label), spread=0.0)
        known = latents[labels == label]
        assert torch.isfinite(prior(z, torch.full((3,), label))).all()
        assert float(distances(drawn, known).min(dim=1).values.max()) < 1e-4


def test_a_class_without_objects_is_refused(latents, labels):
    with pytest.raises(ValueError, match="class 2 has no known object"):
        MixturePrior(len(labels), 3, Z).set_known(latents, labels, BANDWIDTH)


def test_truncation_of_the_mapping_narrows_the_mixture_and_knows_no_centre(latents, labels):
    mapping = Mapping(Z, 2, 16, 4, 2, known_objects=len(labels))
    assert mapping.prior is not None
    assert not mapping.truncates_to_class
    mapping.prior.set_known(latents, labels, BANDWIDTH)
    c = torch.nn.functional.one_hot(torch.tensor([0, 1]), 2).float()
    z = noise(2)
    for truncation in (0.0, 0.5, 1.0):
        expected = mapping.network(mapping.prior(z, torch.tensor([0, 1]), truncation), c)
        assert torch.equal(mapping(z, c, truncation=truncation)[:, 0], expected)
    assert not torch.equal(mapping(z, c, truncation=0.5), mapping(z, c))
