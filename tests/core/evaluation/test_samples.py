# ruff: noqa: F811
"""Who is generated for an evaluation: classes, cameras, truncation, and how flat its depth is."""

from __future__ import annotations

import json
import math

import pytest
import torch

from gp3d_core.cli.main import main
from gp3d_core.datasets.dataset import Dataset
from gp3d_core.evaluation.flatness import measure_flatness
from gp3d_core.evaluation.samples import Sampler, labels_in
from gp3d_core.networks.latents import class_centre
from gp3d_core.ops.backends import announce
from gp3d_core.snapshots.snapshot import load_snapshot, save_snapshot
from tests.support.evaluating import (
    command,
    data,  # noqa: F401
    place,  # noqa: F401
    sampler_of,
    snapshot,  # noqa: F401
)
from tests.support.micro import micro_config, micro_state
from tests.support.tiny_dataset import CLASSES, write_dataset


def test_blocks_depend_on_seed_and_number_alone(snapshot, data) -> None:
    one, same, other = (sampler_of(snapshot, data, seed) for seed in (5, 5, 6))
    one.block(0)
    torch.rand(3)
    assert torch.equal(one.block(2).rgb, same.block(2).rgb)
    assert not torch.equal(one.block(2).rgb, one.block(1).rgb)
    assert not torch.equal(one.block(2).rgb, other.block(2).rgb)


def test_classes_are_as_frequent_as_in_the_data(snapshot, data) -> None:
    sampler = Sampler(snapshot, torch.tensor([0, 1, 1, 1, 1, 1, 1, 1]), None, 0, 1.0)
    drawn = torch.cat([sampler.latents("images", number, 16).c.argmax(dim=1) for number in range(64)])
    assert drawn.float().mean().item() == pytest.approx(7 / 8, abs=4 * math.sqrt(7 / 64 / 1024))


def test_cameras_are_the_generators_and_not_the_priors(snapshot, data) -> None:
    sampler = sampler_of(snapshot, data)
    latents = sampler.latents("images", 0, 16)
    expected = snapshot.generator.cameras(latents.prior, latents.z, latents.c).flat()
    assert torch.equal(sampler.block(0).cameras.flat(), expected)
    assert not torch.allclose(expected, latents.prior.flat(), atol=1e-3)


def test_truncation_pulls_towards_the_mean_of_the_class(snapshot, data) -> None:
    ws = sampler_of(snapshot, data, truncation=0.0).block(0).ws[:, 0]
    labels = sampler_of(snapshot, data).latents("images", 0, 16).c.argmax(dim=1)
    centres = torch.stack([class_centre(snapshot.generator, label, 2) for label in range(2)])
    torch.testing.assert_close(ws, centres[labels])


def test_classes_are_matched_by_name(snapshot, data, tmp_path) -> None:
    folder = write_dataset(tmp_path / "data", images=4)
    header = json.loads((folder / "dataset.json").read_text())
    mug, mushroom = header["classes"]
    header["classes"] = [mushroom | {"label": 0}, mug | {"label": 1}]
    (folder / "dataset.json").write_text(json.dumps(header))
    swapped = Dataset(folder)
    assert labels_in(snapshot, swapped).tolist() == (1 - swapped.labels).tolist()


def test_both_readings_of_frontal(snapshot, data) -> None:
    """Before the camera generator the angles are adapted like any others; after it they are (0, π/2) for certain."""
    seen = {}

    class Watched(Sampler):
        def view(self, latents, adapt, *rest, **options):
            seen.setdefault(len(seen), adapt(latents).angles)
            return super().view(latents, adapt, *rest, **options)

    sampler = Watched(snapshot, labels_in(snapshot, data), None, 0, 1.0)
    released, frontal = measure_flatness(sampler, n=6)
    front = torch.tensor([0.0, math.pi / 2, 0.0]).expand(4, 3)
    assert (released.metric, frontal.metric, released.n) == ("nfs", "nfs/frontal", 6)
    assert len(seen) == 4  # six samples are two batches, in each reading
    assert not torch.allclose(seen[0], front, atol=1e-3)
    assert torch.equal(seen[2], front)
    for score in (released, frontal):
        assert 1 <= score.value <= 64


def test_a_flat_wall_scores_one_and_every_depth_alike_scores_all_bins(snapshot, data) -> None:
    camera = snapshot.config.camera

    class Painted(Sampler):
        def view(self, latents, *_rest, **_options):
            return type("Seen", (), {"depth": depth.expand(len(latents.z), 1, -1, -1)})

    sampler = Painted(snapshot, labels_in(snapshot, data), None, 0, 1.0)
    depth = torch.full((1, 1, 16, 16), 2.0)
    assert [score.value for score in measure_flatness(sampler, n=4)] == pytest.approx([1.0, 1.0])
    steps = (torch.arange(256) + 0.5) / 256
    depth = (camera.t_near + (camera.t_far - camera.t_near) * steps).reshape(1, 1, 16, 16)
    assert [score.value for score in measure_flatness(sampler, n=4)] == pytest.approx([64.0, 64.0])


def test_an_unconditional_snapshot_takes_any_data(tmp_path, data) -> None:
    state = micro_state(tmp_path / "data")
    save_snapshot(tmp_path / "s.safetensors", state.ema, micro_config(), CLASSES, nimg=0)
    assert labels_in(load_snapshot(tmp_path / "s.safetensors"), data).tolist() == data.labels.tolist()


@pytest.mark.parametrize("metrics", ["kid", "nfs"])
def test_views_that_the_model_never_draws_are_told_beside_scores_of_pictures(
    place, tmp_path, capsys, metrics: str
) -> None:
    """Of a model that leaves its cameras as they are drawn, and data whose cameras are all behind."""
    data = write_dataset(tmp_path / "data", images=8)
    header = json.loads((data / "dataset.json").read_text())
    header["camera_angles"] = [[name, [math.pi, 1.2, 0.0]] for name in Dataset(data).names]
    (data / "dataset.json").write_text(json.dumps(header))
    state = micro_state(tmp_path / "again")
    save_snapshot(tmp_path / "plain.safetensors", state.ema, state.config, CLASSES, nimg=24)
    line = command(place, tmp_path / "out", metrics, "--samples", "8")
    line[1:3] = [str(tmp_path / "plain.safetensors"), str(data)]
    announce.cache_clear()
    assert main(line) == 0
    said = (
        "cameras of the data are not those that are drawn: nine in ten have yaw -180° in"
        in capsys.readouterr().err
    )
    assert said == (metrics == "kid")
