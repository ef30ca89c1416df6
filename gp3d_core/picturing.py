"""Image to 3D for the worker: one tokenizer kept warm; a picture becomes a scene, its mesh and a view of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from gp3d_core.checksum import digest
from gp3d_core.distributed import pick_device
from gp3d_core.preparation.decoding import PictureError
from gp3d_core.runfolder import newest_snapshot
from gp3d_core.signals import Progress
from gp3d_core.studio import Publish, deliver
from gp3d_core.vq3d.reconstruction import read_picture, reconstruct
from gp3d_core.vq3d.scenemesh import SceneMeshOptions, mesh_of, recipe_of
from gp3d_core.vq3d.showing import beside
from gp3d_core.vq3d.snapshot import TokenizerSnapshot, load_tokenizer

_VIEW = 256  # pixels a side of what is shown of a scene
_SAME = ("grid", "level", "color", "texture_size", "crop_depth")  # named so by SceneMeshOptions, too


class PictureStudio:
    """Makes meshes of pictures with the tokenizer that a request names; the last one stays loaded."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._snapshot: TokenizerSnapshot | None = None
        self._known = ("", "")  # path and hash of what is loaded

    def mesh(self, options: Mapping[str, Any], progress: Progress, publish: Publish) -> None:
        """Makes and writes the mesh and the view, then calls `publish` as `Studio.mesh` does.

        Raises PictureError for a picture that cannot be used, SnapshotError or RunError for a tokenizer that cannot.
        """
        progress("planes", 0, 1)
        snapshot, path = self._open(Path(options["tokenizer"])), Path(options["picture"])
        if not path.is_file():
            raise PictureError(f"there is no picture at {path}")
        image = read_picture(path, snapshot.config.training.resolution)
        scene = reconstruct(snapshot, image, path.name)
        progress("planes", 1, 1)
        limits: dict[str, Any] = {"faces": options["faces"] or None, "largest": options["keep"] or None}
        chosen = SceneMeshOptions(**{name: options[name] for name in _SAME}, **limits)
        mesh, facts = mesh_of(scene, chosen, progress)
        recipe = {"class": {"name": path.stem}, **recipe_of(scene, chosen, facts)}
        view = Image.fromarray(beside(scene, resolution=_VIEW))
        deliver(mesh, recipe, recipe, options, path.stem, progress, publish, view)

    def _open(self, path: Path) -> TokenizerSnapshot:
        file = newest_snapshot(path) if path.is_dir() else path
        known = (str(file), digest(file) if file.is_file() else "")
        if self._snapshot is None or known != self._known:
            self._snapshot, self._known = load_tokenizer(file, pick_device(self._device)), known
        return self._snapshot
