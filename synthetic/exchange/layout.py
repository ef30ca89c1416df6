"""Where files of a data set lie in an export that keeps them as they are, so that they find their way back.

Everything that belongs to no view lies in `dataset/`; each scene holds the views of one model.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from synthetic.dataset import as_bytes
from synthetic.exchange.files import ExchangeError
from synthetic.exchange.folder import ExportFolder
from synthetic.exchange.source import Camera, DataSet, View

KEPT = "dataset"  # the folder of what belongs to no view


@dataclass(frozen=True)
class Scene:
    """The views of a model, in order, with their cameras."""

    model: str
    name: str  # "<wnid>/<identifier>"
    split: str
    views: tuple[View, ...]
    cameras: tuple[Camera, ...]


def scenes_of(dataset: DataSet) -> list[Scene]:
    """All models and their views, by model. Raises ExchangeError where a view has no camera."""
    groups: dict[str, list[View]] = {}
    for view in dataset.views:
        groups.setdefault(view.scene, []).append(view)
    scenes = []
    for name, views in sorted(groups.items()):
        cameras = [view.camera for view in views]
        found = [camera for camera in cameras if camera is not None]
        if len(found) < len(cameras):
            bare = next(view.name for view in views if view.camera is None)
            raise ExchangeError(
                f"{dataset.index.path}: {bare} has no camera in cameras.json; only rendered data sets have them "
                "(--to webdataset needs none)"
            )
        models = sorted({camera.model for camera in found})
        if len(models) > 1:
            raise ExchangeError(f"{dataset.index.path}: {name}_… shows both {models[0]} and {models[1]}")
        scenes.append(Scene(models[0], name, dataset.split_of(views[0]), tuple(views), tuple(found)))
    return scenes


def original_name(scene_folder: str, number: str, ending: str) -> str:
    """Where a file beside a view's picture is kept: depth code, arrays, camera record."""
    return f"{scene_folder}/original/{number}{ending}"


def write_kept(dataset: DataSet, folder: ExportFolder, readme: str) -> None:
    """Writes what belongs to no view: the files as they are, the terms of use, a README that says what lies here."""
    for name in dataset.others:
        folder.write(f"{KEPT}/{name}", partial(dataset.index.read, name))
    terms = {key: dataset.header[key] for key in ("license", "licences") if key in dataset.header}
    folder.write("licences.json", lambda: as_bytes(terms))
    folder.write("README.md", lambda: f"{readme}\n\n{_terms_in_words(dataset)}\n".encode())


def _terms_in_words(dataset: DataSet) -> str:
    terms = dataset.header.get("license")
    words = terms if isinstance(terms, str) and terms else "nothing is said"
    more = "; licences.json lists authors and licences" if dataset.header.get("licences") else ""
    made_of = f"`{KEPT}/` holds the index of the data set that this was made of."
    return f"Terms of use of the pictures: {words}{more}. {made_of}"
