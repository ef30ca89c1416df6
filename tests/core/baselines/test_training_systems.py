"""Every system trains by the one loop, goes on to the bit, and what it leaves is used by the same functions."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from gp3d_core.config.schema import ConfigError
from gp3d_core.datasets.dataset import Dataset, batches
from gp3d_core.distributed import World
from gp3d_core.evaluation.run import EvaluationOptions, evaluate
from gp3d_core.evaluation.samples import EvaluationError
from gp3d_core.generation.objects import object_specs
from gp3d_core.generation.sampling import generate, open_snapshot, view, write_sheet
from gp3d_core.generation.video import write_stills
from gp3d_core.meshing.extraction import density_grid
from gp3d_core.meshing.level import Level
from gp3d_core.meshing.options import MeshOptions
from gp3d_core.meshing.pipeline import find_surface, finish_surface
from gp3d_core.networks.generator import NoShapeError
from gp3d_core.rendering.activation import DensityActivation
from gp3d_core.snapshots.run_folder import RunError, RunFolder
from gp3d_core.training.gan import build_state, open_task, train_step
from gp3d_core.training.phases import StepContext
from gp3d_core.training.warm_start import check_transfer
from tests.support.micro import StopAfter, assert_same, micro_config, moments_of, run, weights_of
from tests.support.micro_systems import MICRO_SYSTEMS, micro_system
from tests.support.tiny_dataset import write_dataset

SYSTEMS = tuple(MICRO_SYSTEMS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight spheres at 16 px, without depth: none of the systems reads any."""
    path = write_dataset(tmp_path_factory.mktemp("data") / "spheres", images=8, resolution=16)
    for depth in path.rglob("*_depth.png"):
        depth.unlink()
    return path


@pytest.fixture(scope="module")
def runs(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folder of a finished run of each system."""
    base = tmp_path_factory.mktemp("runs")
    for system in SYSTEMS:
        run(base / system, Dataset(folder, reads_depth=False), micro_system(system))
    return {system: base / system for system in SYSTEMS}


@pytest.mark.slow
@pytest.mark.parametrize("system", SYSTEMS)
def test_run_that_was_stopped_ends_as_one_that_was_not(system: str, folder: Path, tmp_path: Path) -> None:
    dataset, config = Dataset(folder, reads_depth=False), micro_system(system)
    whole = run(tmp_path / "whole", dataset, config)
    for looks in (1, 4):
        run(tmp_path / "parts", dataset, config, StopAfter(looks))
    parts = run(tmp_path / "parts", dataset, config)
    assert parts.nimg == whole.nimg
    assert_same(weights_of(parts), weights_of(whole))
    assert_same(moments_of(parts), moments_of(whole))
    stats = [json.loads(line) for line in (tmp_path / "whole" / "stats.jsonl").read_text().splitlines()]
    assert not any("event" in line for line in stats)  # no roll-back


@pytest.mark.slow
@pytest.mark.parametrize("system", SYSTEMS)
def test_both_players_move_and_what_is_shown_is_the_average(system: str, folder: Path) -> None:
    dataset, config = Dataset(folder, reads_depth=False), micro_system(system)
    state = build_state(config, dataset, World())
    before = {name: value.clone() for name, value in weights_of(state).items()}
    steps = batches(dataset, nimg=0, batch=4, part=slice(0, 4), seed=0, mirror=True)
    for _ in range(3):
        log, skipped = train_step(state, next(steps), World()).read()
        assert not skipped
        assert all(math.isfinite(value) for value in log.values())
    after = weights_of(state)
    still = {name for name in before if torch.equal(before[name], after[name])}
    assert not [name for name in still if name.startswith("discriminator.") and name.endswith("weight")]
    weights = {name for name in before if name.startswith("generator.") and name.endswith("weight")}
    assert len(still & weights) <= 0.1 * len(weights)
    moved = after["ema.mapping.w_avg"]
    assert torch.equal(moved, after["generator.mapping.w_avg"])


@pytest.mark.slow
@pytest.mark.parametrize("system", SYSTEMS)
def test_snapshot_is_sampled_drawn_and_measured(
    system: str, runs: dict[str, Path], folder: Path, tmp_path: Path
) -> None:
    snapshot = open_snapshot(runs[system])
    specs = object_specs(snapshot, ["mug"], [0, 1])
    first, second = (generate(snapshot, spec) for spec in specs)
    seen = view(snapshot, first)
    assert seen.rgb.shape == (1, 3, 16, 16)
    assert torch.equal(view(snapshot, first).rgb, seen.rgb)
    assert not torch.equal(view(snapshot, second).rgb, seen.rgb)
    assert view(snapshot, first, resolution=24).rgb.shape == (1, 3, 24, 24)
    write_sheet(snapshot, specs, tmp_path / "sheet.png", truncation=0.7, views=2)
    assert (tmp_path / "sheet.png").stat().st_size > 0
    solid = snapshot.config.dimensions == 3
    stills = write_stills(
        snapshot,
        specs[:1],
        tmp_path / "stills",
        kind="stills",
        depth=solid,
        normals=solid,
        truncation=0.7,
        resolution=None,
    )
    assert len(list(stills)) == (3 if solid else 1)
    scores = evaluate(runs[system], folder, tmp_path / "report", EvaluationOptions(metrics=("nfs",)))
    if solid:
        assert {score.metric for score in scores} == {"nfs", "nfs/frontal"}
        assert all(1 <= score.value <= 64 for score in scores)
        return
    (score,) = scores  # pictures have a dash
    assert math.isnan(score.value)
    assert score.n == 0
    with pytest.raises(EvaluationError, match="geometry is about shapes"):
        evaluate(runs[system], folder, tmp_path / "other", EvaluationOptions(metrics=("geometry",)))


@pytest.mark.slow
@pytest.mark.parametrize("system", SYSTEMS)
def test_shape_becomes_a_mesh_or_is_refused(system: str, runs: dict[str, Path]) -> None:
    snapshot = open_snapshot(runs[system])
    obj = generate(snapshot, object_specs(snapshot, ["mug"], [0])[0])
    if snapshot.config.dimensions < 3:
        with pytest.raises(NoShapeError, match="no shape"):
            snapshot.generator.field(obj.planes)
        return
    field = snapshot.generator.field(obj.planes)
    density = DensityActivation.of(snapshot.config.render)(density_grid(field, box=field.box, grid=16))
    options = MeshOptions(grid=16, level=Level(float(density.quantile(0.8))), components=None)
    surface = find_surface(field, snapshot.config, options)
    finished = finish_surface(surface, field, snapshot.config, options)
    assert len(finished.mesh.faces) > 20
    assert finished.facts["watertight"]


@pytest.mark.slow
@pytest.mark.parametrize("system", SYSTEMS)
def test_what_belongs_to_another_system_is_one_line(
    system: str, runs: dict[str, Path], folder: Path, tmp_path: Path
) -> None:
    dataset = Dataset(folder, reads_depth=False)
    with pytest.raises(RunError, match="was begun with `preset`"):
        RunFolder(runs[system]).check_config(micro_config())
    snapshot = next((runs[system] / "snapshots").glob("*.safetensors"))
    with pytest.raises(ConfigError, match=f"is a model of {system}, `preset` tiny trains 3dgp"):
        check_transfer(snapshot, micro_config(), dataset.classes)


@pytest.mark.slow
def test_eg3d_with_poses_as_conditions(tmp_path: Path) -> None:
    """Of real pictures D is told the true pose, mirrored as they are; data without poses is refused in one line."""
    path = write_dataset(tmp_path / "data", images=8, resolution=16)
    posed = micro_system(
        "eg3d",
        "eg3d.pose_to_generator=true",
        "eg3d.pose_to_discriminator=true",
        "camera.yaw.kind=custom",
        "camera.pitch.kind=custom",
    )
    with pytest.raises(ConfigError, match="camera_angles in") as caught:
        build_state(posed, Dataset(path), World())
    assert "\n" not in str(caught.value)
    header = json.loads((path / "dataset.json").read_text())
    header["camera_angles"] = [[name, [0.1 * k, 1.3, 0.0]] for k, (name, _) in enumerate(header["labels"])]
    (path / "dataset.json").write_text(json.dumps(header))
    dataset = Dataset(path)
    state = build_state(posed, dataset, World())
    batch = next(batches(dataset, nimg=0, batch=4, part=slice(0, 4), seed=0, mirror=True))
    shown = state.phases.adversary.real(batch, StepContext(0, 0.0, torch.Generator()))
    yaw = torch.atan2(
        -shown.c[:, 2 + 3], shown.c[:, 2 + 11]
    )  # where cameras stand: x = -sin yaw, z = cos yaw
    expected = torch.from_numpy(dataset.angles[batch.indices, 0])
    expected = torch.where(torch.from_numpy(batch.mirrored), -expected, expected)
    torch.testing.assert_close(yaw, expected, rtol=0, atol=1e-4)
    folder = RunFolder(tmp_path / "run")
    folder.claim(posed, dataset.fingerprint)
    task = open_task(posed, dataset, folder, World())
    log, skipped = next(task.steps()).read()
    assert not skipped
    assert log["loss/density"] >= 0
