"""Which kernels compute is the machine's affair: runs resume, snapshots load and generators see alike with either."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gp3d_core.config.presets import resolve
from gp3d_core.config.schema import RunConfig
from gp3d_core.networks.generator import Generator
from gp3d_core.rendering.cameras import sample_cameras
from gp3d_core.rng import generator_for
from gp3d_core.snapshots.run_folder import RunError, RunFolder
from gp3d_core.snapshots.snapshot import load_snapshot, save_snapshot
from tests.support.triton_device import DEVICE

SMALL = (
    "generator.plane_resolution=8",
    "generator.plane_channels=2",  # the interpreter takes its time for every channel
    "generator.channel_base=32",
    "generator.w_dim=8",
    "patch.resolution=8",
    "training.precision=float32",
)


def configured(backend: str) -> RunConfig:
    steps = ("render.coarse_steps=4", "render.fine_steps=4", f"render.backend={backend}")
    return resolve("tiny", [*SMALL, *steps])


def test_a_run_may_go_on_with_another_backend(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.claim(configured("auto"), "data")
    folder.checkpoint_path(8).touch()
    folder.claim(configured("reference"), "data")
    with pytest.raises(RunError, match=r"render\.coarse_steps"):
        folder.claim(resolve("tiny", [*SMALL, "render.fine_steps=4"]), "data")


def test_a_snapshot_forgets_the_backend_it_was_trained_with(tmp_path: Path) -> None:
    config = configured("triton")
    save_snapshot(tmp_path / "a.safetensors", Generator(config, 1), config, [], 0)
    snapshot = load_snapshot(tmp_path / "a.safetensors")
    assert snapshot.config == configured("auto")
    assert snapshot.generator.config.render.backend == "auto"


def seen(backend: str) -> list[torch.Tensor]:
    """A training view, and gradients of a random sum of it to every weight."""
    config = configured(backend)
    torch.manual_seed(0)
    generator = Generator(config, 1).to(DEVICE).train()
    z = torch.randn(2, config.generator.z_dim, generator=generator_for("z")).to(DEVICE)
    prior = sample_cameras(config.camera, 2, generator_for("cameras")).to(DEVICE)
    view = generator(z, None, prior, resolution=4, generator=generator_for("view", device=DEVICE))
    noise = torch.randn(view.images.shape, generator=generator_for("sum")).to(DEVICE)
    (view.images * noise).sum().backward()
    gradients = {name: p.grad for name, p in generator.named_parameters() if p.grad is not None}
    assert any(name.startswith("decoder") for name in gradients)
    assert any(name.startswith("mapping") for name in gradients)
    return [view.images.detach(), view.opacity.detach(), *gradients.values()]


@pytest.mark.slow
def test_a_training_view_is_the_same_with_either_backend() -> None:
    pytest.importorskip("triton")
    for found, expected in zip(seen("triton"), seen("reference"), strict=True):
        error, size = (found - expected).abs().max(), expected.abs().max()
        assert error <= 1e-4 * size  # networks before and behind the renderer magnify its rounding
