from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from gp3d_core.datasets.archive import DatasetError
from gp3d_core.grounding.ground_truth import Truth, load_truth
from gp3d_core.rng import generator_for
from tests.support.balls import radius_of, write_balls

MODELS = 6


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Truth:
    return load_truth(write_balls(tmp_path_factory.mktemp("balls"), models=MODELS), 16)


def radii() -> torch.Tensor:
    return torch.tensor([radius_of(k, MODELS) for k in range(MODELS)])


def test_points_are_inside_exactly_where_the_sphere_is(truth: Truth) -> None:
    models = torch.arange(MODELS)
    points, inside = truth.sample_points(models, 400, generator_for(0))
    assert points.shape == (MODELS, 400, 3)
    assert torch.equal(inside[..., 0] > 0, points.norm(dim=-1) < radii()[:, None])
    assert 0.05 < float(inside.mean()) < 0.7


def test_half_of_the_points_lie_near_the_surface(truth: Truth) -> None:
    points, _ = truth.sample_points(torch.arange(MODELS), 200, generator_for(1))
    off = (points.norm(dim=-1) - radii()[:, None]).abs()
    assert float((off[:, :100] < 0.07).float().mean()) > 0.99
    assert float((off[:, 100:] < 0.07).float().mean()) < 0.5


def test_points_for_measuring_are_never_trained_on(truth: Truth) -> None:
    models = torch.arange(MODELS)
    kept, inside = truth.measuring_points(models)
    assert torch.equal(inside[..., 0] > 0, kept.norm(dim=-1) < radii()[:, None])
    trained, _ = truth.sample_points(models, 20_000, generator_for(2))
    for of_model, seen in zip(kept, trained, strict=True):
        assert not torch.isin(of_model[:, 0], seen[:, 0]).all()
        rows = {tuple(row) for row in seen.tolist()}
        assert not any(tuple(row) in rows for row in of_model.tolist())
        assert len({tuple(row) for row in of_model.tolist()} | rows) == 512


def test_rays_end_on_the_sphere_where_they_say_that_they_hit(truth: Truth) -> None:
    seen = truth.whole_view(truth.views[:, 0])
    end = seen.rays_o + seen.depth * seen.rays_d
    miss = ((end.norm(dim=-1) - radii()[:, None]).abs() * seen.hit[..., 0]).max()
    assert float(miss) < 1e-4  # depth is coded in steps of 1.7e-5
    closest = seen.rays_o - (seen.rays_o * seen.rays_d).sum(-1, keepdim=True) * seen.rays_d
    assert torch.equal(seen.hit[..., 0] > 0, closest.norm(dim=-1) < radii()[:, None])


def test_drawn_rays_are_pixels_of_their_view_and_half_of_them_hit(truth: Truth) -> None:
    views = truth.views[:, 1]
    seen, whole = truth.sample_rays(views, 300, generator_for(3)), truth.whole_view(views)
    assert 0.4 < float(seen.hit.mean()) < 0.6
    for b in range(MODELS):
        pixel = torch.cdist(seen.rays_d[b].double(), whole.rays_d[b].double()).argmin(dim=1)
        assert torch.equal(whole.rgb[b, pixel], seen.rgb[b])
        assert torch.equal(whole.depth[b, pixel], seen.depth[b])


def test_held_out_models_are_the_first_of_every_class(truth: Truth) -> None:
    chosen = truth.held_out(2)
    assert [truth.names[k] for k in chosen] == [f"ball/ball{k:02d}" for k in (0, 2, 1, 3)]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda p: (p / "cameras.json").unlink(), "cameras.json is missing"),
        (lambda p: (p / "cameras.json").write_text('{"views": {}}'), "cameras.json is damaged"),
        (lambda p: (p / "points/ball/ball03.npz").unlink(), "no points/ball/ball03.npz"),
        (lambda p: (p / "points/ball/ball03.npz").write_bytes(b"PK\x03\x04 no"), "ball03.npz is damaged"),
        (
            lambda p: np.savez(
                p / "points/ball/ball03.npz", positions=np.zeros((4, 2)), occupied=np.zeros(4)
            ),
            "expected (N, 3) and (N,)",
        ),
        (
            lambda p: np.savez(
                p / "points/ball/ball03.npz", positions=np.zeros((4, 3)), occupied=np.zeros(4)
            ),
            "expected one number",
        ),
    ],
)
def test_unfit_data_is_refused_by_name(tmp_path: Path, damage: object, message: str) -> None:
    write_balls(tmp_path, points=16)
    damage(tmp_path)  # type: ignore[operator]
    with pytest.raises(DatasetError) as caught:
        load_truth(tmp_path, 16)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_resolution_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"`training\.resolution`=16"):
        load_truth(write_balls(tmp_path, points=16), 32)
