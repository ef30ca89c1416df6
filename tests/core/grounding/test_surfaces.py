"""Grounding on points of surfaces: their colours are learnt, light-free, whatever the pictures show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from gp3d_core.config.presets import resolve
from gp3d_core.datasets.archive import DatasetError
from gp3d_core.distributed import World
from gp3d_core.grounding.ground_truth import Truth, load_truth
from gp3d_core.grounding.step import codes_of_models, measure
from gp3d_core.grounding.train import open_task
from gp3d_core.networks.latents import one_hot, style_codes
from gp3d_core.networks.layers import normalise_second_moment
from gp3d_core.rng import generator_for
from gp3d_core.snapshots.run_folder import RunFolder
from gp3d_core.snapshots.snapshot import load_snapshot
from tests.core.grounding.test_step import MICRO
from tests.support.balls import UPPER, radius_of, write_balls
from tests.support.micro import finish

MODELS = 6
CONFIG = resolve(
    "box-128",
    [
        *MICRO,
        "grounding.surface_points=128",
        "grounding.latent_dims=4",
        "generator.texel_square=2",  # so small planes would be one block of 4² else
        "training.generator_lr=0.004",  # the preset's is for wider networks
        "training.kimg=4",
    ],
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_balls(tmp_path_factory.mktemp("balls"), models=MODELS, points=4096, surface=1024)


@pytest.fixture(scope="module")
def truth(data: Path) -> Truth:
    return load_truth(data, 16, albedo=True, surface=True)


def test_drawn_points_lie_on_the_surface_with_its_normal_and_colour(truth: Truth) -> None:
    assert truth.surface is not None
    seen = truth.surface.sample(torch.arange(MODELS), 300, generator_for(0))
    radii = torch.tensor([radius_of(k, MODELS) for k in range(MODELS)])[:, None]
    assert float((seen.positions.norm(dim=-1) - radii).abs().max()) < 1e-3
    assert float((seen.positions / radii[..., None] - seen.normals).abs().max()) < 0.02
    upper = torch.tensor(UPPER) / 127.5 - 1
    is_upper = (seen.rgb - upper).abs().amax(dim=-1) < 1e-6
    clear = seen.positions[..., 1].abs() > 0.01
    assert torch.equal(is_upper[clear], (seen.positions[..., 1] > 0)[clear])


def test_albedo_replaces_the_picture_on_the_object_and_leaves_white_around_it(
    data: Path, truth: Truth
) -> None:
    lit = load_truth(data, 16)
    hit = truth.whole_view(truth.views[:, 0]).hit[..., 0] > 0
    base, picture = (t.images[t.views[:, 0]].flatten(1, 2) for t in (truth, lit))
    assert bool((base[~hit] == 255).all())
    green = (base[hit] == torch.tensor(UPPER, dtype=torch.uint8)).all(dim=-1)
    assert 0.2 < float(green.float().mean()) < 0.9
    assert not bool((picture[hit] == torch.tensor(UPPER, dtype=torch.uint8)).all(dim=-1).any())


@pytest.mark.parametrize(
    ("damage", "options", "message"),
    [
        ("surface", {"surface": True}, "no points on the surface"),
        ("shape", {"surface": True}, "expected (N, 3) and (N, 3) and (N, 3)"),
        ("geometry", {"albedo": True}, "_geometry.npz; render with the option `albedo`"),
        ("albedo", {"albedo": True}, "has no albedo; render with the option `albedo`"),
    ],
)
def test_data_without_what_is_asked_for_is_refused_by_name(
    tmp_path: Path, damage: str, options: dict[str, bool], message: str
) -> None:
    write_balls(tmp_path, models=2, points=16, surface=8)
    points = tmp_path / "points" / "ball" / "ball01.npz"
    arrays = dict(np.load(points))
    if damage == "surface":
        np.savez(points, positions=arrays["positions"], occupied=arrays["occupied"])
    elif damage == "shape":
        np.savez(points, **(arrays | {"surface_normals": arrays["surface_normals"][:5]}))
    else:
        view = min(tmp_path.rglob("ball01_*_geometry.npz"))
        view.unlink() if damage == "geometry" else np.savez(view, mask=np.zeros(1))
    with pytest.raises(DatasetError) as caught:
        load_truth(tmp_path, 16, **options)
    assert message in str(caught.value)


@pytest.mark.slow
def test_the_colours_of_surfaces_are_learnt_and_new_objects_lie_near_known_ones(
    truth: Truth, tmp_path: Path
) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.claim(CONFIG, truth.fingerprint)
    state = finish(open_task(CONFIG, truth, folder, World()), folder, None)
    assert measure(state, truth)["held_out/iou"] > 0.85
    models = torch.arange(MODELS)
    field = state.ema.field(state.ema.planes(codes_of_models(state, truth, models)))
    assert truth.surface is not None
    seen = truth.surface.sample(models, 200, generator_for(3))
    error = (field(seen.positions)[0] - seen.rgb).abs().mean(dim=-1)
    beyond_a_texel = seen.positions[..., 1].abs() > 0.1  # from where the colour changes; a texel is 0.07
    assert float(error[beyond_a_texel].mean()) < 0.12

    made = load_snapshot(folder.snapshot_path(state.nimg))
    mapping = made.generator.mapping
    assert mapping.prior is not None
    assert made.config.generator.known_objects == MODELS
    known = mapping.network(
        normalise_second_moment(state.latents.weight.detach()), one_hot(truth.labels, len(truth.classes))
    )
    for seed in range(4):
        for label in (0, 1):
            code = style_codes(made.generator, label, 2, seed, 0.0)[0, 0]
            assert float((known[truth.labels == label] - code).norm(dim=1).min()) < 1e-3
