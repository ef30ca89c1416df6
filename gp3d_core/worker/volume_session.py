"""Volumes for the worker: the grids of an object as a file."""

from __future__ import annotations

from gp3d_core.atomic import transaction
from gp3d_core.generation.sampling import Generated
from gp3d_core.generation.volumes import make_volume, write_volume
from gp3d_core.signals import Progress
from gp3d_core.snapshots.snapshot import Snapshot
from gp3d_core.worker.model_session import Publish
from gp3d_core.worker.protocol import VolumeOptions


def make_grids(
    snapshot: Snapshot, obj: Generated, options: VolumeOptions, progress: Progress, publish: Publish
) -> None:
    """Makes and writes a volume, then calls `publish` as `ModelSession.mesh` does."""
    volume = make_volume(snapshot, obj, options["grid"], progress)
    folder, stem = options["dir"], options["stem"] or obj.spec.stem
    folder.mkdir(parents=True, exist_ok=True)
    progress("write", 0, 1)
    with transaction(folder) as files:
        write_volume(volume, files.path / f"{stem}.volume.npz")
        progress("write", 1, 1)
        full = int((volume.density > 0).sum())
        result = {
            "files": {"npz": str(folder / f"{stem}.volume.npz")},
            "recipe": volume.recipe,
            "samples": full,
        }
        publish(files.publish, result)
