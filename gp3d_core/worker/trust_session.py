"""How far a surface can be relied on, for the worker: values and colours of its vertices in a file, and numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gp3d_core.assets.finishing import placement_for
from gp3d_core.assets.real_sizes import known_size
from gp3d_core.atomic import transaction
from gp3d_core.generation.objects import check_asset_options
from gp3d_core.generation.sampling import Generated
from gp3d_core.meshing.cleaning import is_watertight
from gp3d_core.meshing.mesh import Mesh
from gp3d_core.meshing.options import MeshOptions
from gp3d_core.meshing.pipeline import find_surface
from gp3d_core.signals import Progress
from gp3d_core.snapshots.snapshot import Snapshot
from gp3d_core.trust.colors import disagreement_colors, supervision_colors
from gp3d_core.trust.report import examine
from gp3d_core.trust.supervision import area_weights
from gp3d_core.worker.model_session import Publish
from gp3d_core.worker.protocol import PictureTrustOptions, TrustOptions

FORMAT, VERSION = "gp3d-trust", 1


@dataclass(frozen=True, eq=False)
class Examined:
    """A mesh in the place of its files, without what colours add to it, and what is known of its vertices.

    `supervision` float32 [V] is 0 never seen to 1; `disagreement` float32 [V], a share of the longest side, may be NaN.
    """

    mesh: Mesh
    supervision: NDArray[Any]
    facts: dict[str, Any]
    disagreement: NDArray[Any] | None = None

    def arrays(self) -> dict[str, Any]:
        """What the file holds."""
        found: dict[str, Any] = {
            "format": FORMAT,
            "version": VERSION,
            "vertices": self.mesh.vertices,
            "faces": self.mesh.faces,
            "supervision": self.supervision.astype(np.float32),
            "supervision_colors": supervision_colors(self.supervision),
        }
        if self.disagreement is not None:
            found["disagreement"] = self.disagreement.astype(np.float32)
            found["disagreement_colors"] = disagreement_colors(self.disagreement)
        return found


def examine_object(
    snapshot: Snapshot, obj: Generated, options: TrustOptions, progress: Progress, publish: Publish
) -> None:
    """Examines the surface that `mesh` makes with these options, writes the file and calls `publish` as that does."""
    chosen = MeshOptions.of_request(options)
    check_asset_options([obj.spec], chosen)
    field = snapshot.generator.field(obj.planes)
    surface = find_surface(field, snapshot.config, chosen, progress)
    trust = examine(surface.mesh, field, snapshot.config, surface.level, progress=progress)
    known = known_size(obj.spec.record, needed=chosen.size == "real")
    placed = placement_for(surface.mesh, chosen, known)(surface.mesh)
    facts = {**trust.facts(), "watertight": is_watertight(surface.mesh.faces)}
    found = Examined(placed, trust.supervision.amount, facts, trust.disagreement.amount)
    _deliver(found, options["dir"], options["stem"] or obj.spec.stem, progress, publish)


def examine_picture(
    mesh: Mesh, weights: NDArray[Any], options: PictureTrustOptions, progress: Progress, publish: Publish
) -> None:
    """Writes which vertices of the `mesh` of a picture the picture shows, by its `weights` [V], as `examine_object`."""
    share = area_weights(mesh)
    facts = {
        "never_seen": float(share[weights <= 0].sum()),
        "supervision": float(share @ weights),
        "watertight": is_watertight(mesh.faces),
    }
    stem = options["stem"] or Path(options["picture"]).stem
    _deliver(Examined(mesh, weights, facts), options["dir"], stem, progress, publish)


def _deliver(found: Examined, folder: Path, stem: str, progress: Progress, publish: Publish) -> None:
    name = f"{stem}.trust.npz"
    folder.mkdir(parents=True, exist_ok=True)
    progress("write", 0, 1)
    with transaction(folder) as files:
        with (files.path / name).open("wb") as file:
            np.savez_compressed(file, **found.arrays())
        result: Mapping[str, Any] = {
            "file": str(folder / name),
            "vertices": len(found.mesh.vertices),
            "facts": found.facts,
        }
        publish(files.publish, result)
