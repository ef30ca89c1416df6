"""A mesh in one or several formats, its recipe, and what else belongs to it: files that appear together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from PIL import Image

from gp3d_core.atomic import Transaction, transaction
from gp3d_core.meshing.files.writing import save_recipe, write_mesh
from gp3d_core.meshing.mesh import Mesh
from gp3d_core.signals import Progress, counted, no_progress
from gp3d_core.visualization import save_picture

NO_PICTURES: Mapping[str, Image.Image] = MappingProxyType({})


@contextmanager
def bundle(
    mesh: Mesh,
    paths: Sequence[Path],
    recipe: Mapping[str, Any],
    beside: Mapping[str, Any],
    pictures: Mapping[str, Image.Image] = NO_PICTURES,
    progress: Progress = no_progress,
) -> Iterator[Transaction]:
    """A block with the files of a mesh as a transaction: what else is written into its `path` appears with them.

    `paths` differ in their suffix alone. The files hold `recipe`, and `<stem>.recipe.json` beside them holds `beside`.
    `pictures` become `<stem>.<name>.png`; both recipes name a thumbnail among them. `progress` hears of the stage
    write. What is not published is forgotten. Raises MeshError for an unknown suffix.
    """
    folder, stem = paths[0].parent, paths[0].stem
    shown = {"thumbnail": f"{stem}.thumbnail.png"} if "thumbnail" in pictures else {}
    folder.mkdir(parents=True, exist_ok=True)
    with transaction(folder) as files:
        for path in counted(paths, "write", progress):
            write_mesh(mesh, files.path / path.name, {**recipe, **shown})
        for name, picture in pictures.items():
            save_picture(picture, files.path / f"{stem}.{name}.png")
        save_recipe({**beside, **shown}, files.path / f"{stem}.recipe.json")
        yield files
