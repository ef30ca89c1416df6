"""GP3D: textured 3D objects from a class and a seed, learnt from single views (3DGP).

The names below are the public ones. Each is imported when it is first used, so that `import gp3d_core` is instant.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gp3d_core.config.presets import PRESETS, resolve
    from gp3d_core.config.schema import RunConfig
    from gp3d_core.datasets.dataset import Dataset
    from gp3d_core.errors import GP3DError
    from gp3d_core.generation.pipeline import ObjectPipeline
    from gp3d_core.meshing.files.reading import load_mesh
    from gp3d_core.meshing.files.writing import save_mesh
    from gp3d_core.meshing.mesh import Mesh
    from gp3d_core.networks.generator import Generator
    from gp3d_core.rendering.cameras import Cameras, sample_cameras, sample_rays
    from gp3d_core.rendering.volume import render
    from gp3d_core.snapshots.snapshot import load_snapshot
    from gp3d_core.vq3d.pipeline import ScenePipeline

__version__ = "0.1.0"

__all__ = [
    "PRESETS",
    "Cameras",
    "Dataset",
    "GP3DError",
    "Generator",
    "Mesh",
    "ObjectPipeline",
    "RunConfig",
    "ScenePipeline",
    "load_mesh",
    "load_snapshot",
    "render",
    "resolve",
    "sample_cameras",
    "sample_rays",
    "save_mesh",
]

_HOMES = {
    "Cameras": "rendering.cameras",
    "Dataset": "datasets.dataset",
    "GP3DError": "errors",
    "Generator": "networks.generator",
    "Mesh": "meshing.mesh",
    "ObjectPipeline": "generation.pipeline",
    "PRESETS": "config.presets",
    "RunConfig": "config.schema",
    "ScenePipeline": "vq3d.pipeline",
    "load_mesh": "meshing.files.reading",
    "load_snapshot": "snapshots.snapshot",
    "render": "rendering.volume",
    "resolve": "config.presets",
    "sample_cameras": "rendering.cameras",
    "sample_rays": "rendering.cameras",
    "save_mesh": "meshing.files.writing",
}


def __getattr__(name: str) -> Any:
    """Imports the module that holds the public `name`; raises AttributeError for any other name."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
