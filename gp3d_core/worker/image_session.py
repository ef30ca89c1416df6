"""Image to 3D for the worker: one tokenizer kept warm; a picture becomes a scene, its mesh and a view of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image

from gp3d_core.datasets.decoding import Limits, PictureError, decode
from gp3d_core.distributed import pick_device
from gp3d_core.hashing import digest
from gp3d_core.meshing.mesh import Mesh
from gp3d_core.meshing.options import SceneMeshOptions
from gp3d_core.pretrained import NAME, PretrainedError
from gp3d_core.signals import Progress
from gp3d_core.vq3d.files.metadata import find_tokenizer
from gp3d_core.vq3d.files.tokenizer_file import TokenizerSnapshot, load_tokenizer
from gp3d_core.vq3d.scenes.composition import RegionError
from gp3d_core.vq3d.scenes.editing import read_mask
from gp3d_core.vq3d.scenes.figures import side_by_side
from gp3d_core.vq3d.scenes.mesh import mesh_of, recipe_of, shown_by_inputs
from gp3d_core.vq3d.scenes.reconstruction import open_picture, reconstruct_picture
from gp3d_core.vq3d.scenes.scenefile import Scene, load_scene
from gp3d_core.worker.model_session import Publish, deliver
from gp3d_core.worker.protocol import PictureMeshOptions, PictureTrustOptions, Problem
from gp3d_core.worker.trust_session import examine_picture

_VIEW = 256  # pixels a side of what is shown of a scene


class ImageSession:
    """Makes meshes of pictures with the tokenizer that a request names; the last one stays loaded."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._snapshot: TokenizerSnapshot | None = None

    def mesh(self, options: PictureMeshOptions, progress: Progress, publish: Publish) -> None:
        """Makes and writes the mesh and the view, then calls `publish` as `ModelSession.mesh` does.

        The picture may be the file of a scene. With a mask only its subject stays. Raises PictureError for a picture
        that cannot be used, SnapshotError or RunError for a tokenizer or a scene that cannot, Problem for a mask that
        cannot, and (E_NO_WEIGHTS) where no tokenizer came along.
        """
        path, mask = Path(options["picture"]), options["mask"]
        chosen = SceneMeshOptions.of_request(options)
        scene, tokenizer, mesh, facts = self._made(options, chosen, progress)
        if mask is not None:
            facts["mask_sha256"] = digest(Path(mask))
        made_of = {
            "picture": path.name,
            "picture_sha256": digest(path),
            "tokenizer_name": tokenizer["name"],
        }
        recipe = made_of | recipe_of(scene, chosen, facts)
        view = Image.fromarray(side_by_side(scene, resolution=_VIEW))

        def publish_all(move: Callable[[], None], result: Mapping[str, Any]) -> None:
            publish(move, {**result, "tokenizer": tokenizer})

        deliver(mesh, recipe, recipe, options, path.stem, progress, publish_all, {"view": view})

    def trust(self, options: PictureTrustOptions, progress: Progress, publish: Publish) -> None:
        """Writes what the picture shows of the mesh that `mesh` makes, then calls `publish`; raises as that does."""
        chosen = replace(SceneMeshOptions.of_request(options), color="none")
        scene, _, mesh, _ = self._made(options, chosen, progress)
        progress("supervision", 0, 1)
        examine_picture(mesh, shown_by_inputs(scene, mesh), options, progress, publish)

    def _made(
        self, options: PictureMeshOptions | PictureTrustOptions, chosen: SceneMeshOptions, progress: Progress
    ) -> tuple[Scene, dict[str, str], Mesh, dict[str, Any]]:
        """The scene of the picture, its tokenizer, its mesh and what is known about that."""
        progress("planes", 0, 1)
        path = Path(options["picture"])
        if not path.is_file():
            raise PictureError(f"there is no picture at {path}")
        scene, tokenizer = self._scene_of(path, options["tokenizer"])
        progress("planes", 1, 1)
        mask = options["mask"]
        try:
            subject = None if mask is None else read_mask(Path(mask), scene.resolution, _size_of(path))
            mesh, facts = mesh_of(scene, chosen, progress, subject)
        except RegionError as error:
            raise Problem("E_PICTURE", str(error), "Choose another mask.") from error
        return scene, tokenizer, mesh, facts

    def _scene_of(self, path: Path, named: str) -> tuple[Scene, dict[str, str]]:
        """The scene in the file, or of the picture, at `path`, and the tokenizer that made it; `named` for pictures."""
        if path.suffix == ".safetensors":
            scene = load_scene(path, pick_device(self._device))
            return scene, {"name": "scene", "path": named, "sha256": scene.parts[0].tokenizer[:12]}
        snapshot = self._open(Path(named))
        picture = open_picture(path)
        name = NAME if named == NAME else snapshot.path.name
        known = {"name": name, "path": str(snapshot.path.absolute()), "sha256": snapshot.digest[:12]}
        return reconstruct_picture(snapshot, picture, path.name).scene, known

    def _open(self, path: Path) -> TokenizerSnapshot:
        try:
            file = find_tokenizer(path)
        except PretrainedError:
            message = "this gp3d brings no VQ3D tokenizer, and none was named"
            raise Problem("E_NO_WEIGHTS", message, "Choose one; docs/vq3d.md says how to train it.") from None
        snapshot, found = self._snapshot, digest(file) if file.is_file() else ""
        if snapshot is None or (snapshot.path, snapshot.digest) != (file, found):
            snapshot = self._snapshot = load_tokenizer(file, pick_device(self._device))
        return snapshot


def _size_of(path: Path) -> tuple[int, int] | None:
    """Pixels of the upright picture at `path`; None for a scene, which has forgotten them."""
    return None if path.suffix == ".safetensors" else decode(path.read_bytes(), Limits()).size
