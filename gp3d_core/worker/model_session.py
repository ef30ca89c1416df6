"""A model kept warm: a loaded snapshot, and the tri-planes of the objects that were made last.

What it makes is what `generation` makes; it adds memory, interruption, and errors in the words of the protocol.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from gp3d_core.assets.budget import BudgetError
from gp3d_core.assets.files import write_parts
from gp3d_core.assets.real_sizes import UnknownSizeError
from gp3d_core.atomic import PlaceError
from gp3d_core.datasets.decoding import PictureError
from gp3d_core.datasets.imagenet import UnknownClassError, choose_class
from gp3d_core.distributed import pick_device
from gp3d_core.errors import DeviceError, lacks_memory
from gp3d_core.generation.meshes import make_asset, remarks_on
from gp3d_core.generation.objects import (
    ObjectSpec,
    RequestError,
    check_asset_options,
    object_specs,
    specs_of_labels,
)
from gp3d_core.generation.recipes import place_of
from gp3d_core.generation.sampling import Generated, generate, settled, thumbnail_of, view
from gp3d_core.meshing.extraction import EmptyMeshError
from gp3d_core.meshing.files.bundle import NO_PICTURES, bundle
from gp3d_core.meshing.files.formats import LibraryError, writable_formats
from gp3d_core.meshing.isosurface import MemoryLimitError
from gp3d_core.meshing.mesh import Mesh, MeshError
from gp3d_core.meshing.options import COLORS, MeshOptions
from gp3d_core.pretrained import name_of
from gp3d_core.signals import Progress
from gp3d_core.snapshots.metadata import SnapshotError
from gp3d_core.snapshots.run_folder import RunError
from gp3d_core.snapshots.snapshot import load_snapshot
from gp3d_core.visualization import rgb_to_uint8, save_picture
from gp3d_core.worker.protocol import FileOptions, ObjectMeshOptions, PreviewOptions, Problem

Publish = Callable[[Callable[[], None], Mapping[str, Any]], None]


class PlaneCache:
    """Objects by what they are, truncation and the SHA-256 of their `model`.

    Those used longest ago leave when `limit` bytes are exceeded.
    """

    def __init__(self, limit: int) -> None:
        self.limit, self.bytes = limit, 0
        self._objects: OrderedDict[tuple[object, ...], Generated] = OrderedDict()

    def get(self, spec: ObjectSpec, truncation: float, model: str = "") -> Generated | None:
        """The object, if it is there; it counts as used now."""
        key = (*spec.identity, truncation, model)
        if key in self._objects:
            self._objects.move_to_end(key)
        return self._objects.get(key)

    def put(self, obj: Generated, model: str = "") -> None:
        """Keeps an object that is not there yet, unless it alone exceeds the limit."""
        if _bytes(obj) > self.limit:
            return
        self._objects[(*obj.spec.identity, obj.truncation, model)] = obj
        self.bytes += _bytes(obj)
        while self.bytes > self.limit:
            self.bytes -= _bytes(self._objects.popitem(last=False)[1])

    def status(self) -> dict[str, int]:
        """What a `status` says of it."""
        return {"objects": len(self._objects), "bytes": self.bytes}

    def clear(self) -> None:
        """Forgets everything."""
        self._objects.clear()
        self.bytes = 0


def _bytes(obj: Generated) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in (obj.planes, obj.ws))


class ModelSession:
    """A snapshot on a device. Every layer of its networks calls `check` first, which may raise to stop a job."""

    def __init__(self, path: Path, device: str, cache: PlaneCache, check: Callable[[], None]) -> None:
        """Loads the snapshot file at `path`; `cache` may be shared with other models.

        Raises Problem: E_BAD_WEIGHTS or E_DEVICE.
        """
        try:
            self.snapshot = load_snapshot(path, pick_device(device))
        except DeviceError as error:
            raise Problem("E_DEVICE", str(error), "Choose the device cpu or auto.") from error
        except SnapshotError as error:
            raise Problem("E_BAD_WEIGHTS", str(error), "Choose another snapshot.") from error
        self.cache = cache
        for module in self.snapshot.generator.modules():
            module.register_forward_pre_hook(lambda *_: check())

    def facts(self) -> dict[str, Any]:
        """What a `ready` event says of the model and the machine."""
        snapshot, device = self.snapshot, self.snapshot.generator.mapping.w_avg.device
        threads = torch.get_num_threads()
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{threads} CPU threads"
        return {
            "device": device.type,
            "device_name": name,
            "threads": threads,
            "snapshot": self.identity(),
            "resolution": snapshot.config.training.resolution,
            "box": snapshot.config.camera.box,
            "formats": writable_formats(),
            "colors": list(COLORS),
        }

    def identity(self) -> dict[str, Any]:
        """Which model it is: its name, its path, the beginning of its SHA-256, and how many images it has seen."""
        snapshot = self.snapshot
        return {
            "name": name_of(snapshot.path),
            "path": str(snapshot.path.absolute()),
            "sha256": snapshot.digest[:12],
            "nimg": snapshot.nimg,
        }

    def specs(self, query: str | None, seeds: Sequence[int]) -> tuple[list[ObjectSpec], str]:
        """The objects of the class that `query` means, and which class that is if it is no name of it, or "".

        Raises Problem (E_CLASS).
        """
        known = self.snapshot.classes
        if known and query is None:
            raise Problem("E_CLASS", f"the model knows {len(known)} classes, none was named", CLASS_ADVICE)
        if query is not None and not known:
            raise Problem("E_CLASS", "the model was trained without classes", "Leave the class out.")
        if query is None:
            return object_specs(self.snapshot, None, seeds), ""
        try:
            chosen = choose_class(query, known)
        except UnknownClassError as error:
            raise Problem("E_CLASS", str(error), CLASS_ADVICE) from error
        return self.specs_of({chosen.entry.label}, seeds), chosen.note

    def specs_of(self, labels: Collection[int | None], seeds: Sequence[int]) -> list[ObjectSpec]:
        """The objects of the classes with these labels."""
        return specs_of_labels(self.snapshot, labels, seeds)

    def generated(self, spec: ObjectSpec, truncation: float) -> tuple[Generated, bool]:
        """The object, and whether it was in the cache. Raises Problem (E_COMBINE) where the model cannot combine it."""
        try:
            spec = settled(self.snapshot, spec)
        except RequestError as error:
            raise Problem("E_COMBINE", str(error), COMBINE_ADVICE) from error
        known = self.cache.get(spec, truncation, self.snapshot.digest)
        if known is not None:
            return known, True
        obj = generate(self.snapshot, spec, truncation)
        self.cache.put(obj, self.snapshot.digest)
        return obj, False

    def preview(self, obj: Generated, options: PreviewOptions, yaw: float) -> tuple[Path, int]:
        """Writes the object's picture into the folder `options["dir"]`; returns its path and its pixels per side."""
        resolution = options["resolution"] or self.snapshot.config.training.resolution
        picture = rgb_to_uint8(view(self.snapshot, obj, yaw, resolution).rgb)[0]
        name = f"{obj.spec.stem}-t{obj.truncation:g}-{resolution}px-yaw{yaw:g}.png"
        options["dir"].mkdir(parents=True, exist_ok=True)
        save_picture(Image.fromarray(picture), options["dir"] / name)
        return options["dir"] / name, resolution

    def mesh(self, obj: Generated, options: ObjectMeshOptions, progress: Progress, publish: Publish) -> None:
        """Makes and writes a mesh, then calls `publish` with what moves its files into place, and the result."""
        chosen, formats = MeshOptions.of_request(options), options["formats"]
        check_asset_options([obj.spec], chosen)
        asset, recipe = make_asset(self.snapshot, obj, chosen, formats, progress)
        beside = recipe | place_of(self.snapshot.path, options["dir"])
        pictures = {"thumbnail": thumbnail_of(self.snapshot, obj)} if options["thumbnail"] else {}

        def more(folder: Path, stem: str) -> dict[str, Any]:
            names = write_parts(asset, folder, stem, formats, recipe)
            found = {key: _placed(value, options["dir"]) for key, value in names.items()}
            return found | {"remarks": remarks_on(asset, formats)}

        deliver(asset.mesh, recipe, beside, options, obj.spec.stem, progress, publish, pictures, more)


def deliver(
    mesh: Mesh,
    recipe: Mapping[str, Any],
    beside: Mapping[str, Any],
    options: FileOptions,
    stem: str,
    progress: Progress,
    publish: Publish,
    pictures: Mapping[str, Image.Image] = NO_PICTURES,
    more: Callable[[Path, str], Mapping[str, Any]] | None = None,
) -> None:
    """Writes a mesh with its `recipe`, and `beside` it one for people, where `options` say, else called after `stem`.

    Then calls `publish` with what moves the files into place, and the result. `pictures` become `<stem>.<name>.png`.
    `more` writes what else belongs to a mesh of that name into the folder it is given, and says what in the result.
    """
    formats = list(dict.fromkeys(options["formats"]))
    folder, stem = options["dir"], options["stem"] or stem
    paths = [folder / f"{stem}.{suffix}" for suffix in formats]
    with bundle(mesh, paths, recipe, beside, pictures, progress) as files:
        result = {
            "files": {suffix: str(path) for suffix, path in zip(formats, paths, strict=True)},
            "recipe_path": str(folder / f"{stem}.recipe.json"),
            "recipe": recipe,
            "vertices": len(mesh.vertices),
            "faces": len(mesh.faces),
        }
        shown = {name: str(folder / f"{stem}.{name}.png") for name in pictures}
        publish(files.publish, result | shown | dict(more(files.path, stem) if more else {}))


def _placed(names: Any, folder: Path) -> Any:
    """Names of files, in lists and mappings, as paths in `folder`."""
    if isinstance(names, str):
        return str(folder / names)
    if isinstance(names, dict):
        return {key: _placed(value, folder) for key, value in names.items()}
    return [_placed(value, folder) for value in names]


def problem_of(error: Exception) -> Problem:
    """What the client reads about an error that ended a job."""
    if isinstance(error, Problem):
        return error
    for kind, code, action in _PROBLEMS:
        if isinstance(error, kind):
            return Problem(code, str(error), action)
    if lacks_memory(error):
        return Problem(
            "E_OOM", "not enough memory", "Choose a lower quality: a smaller grid, resolution or texture."
        )
    if isinstance(error, OSError):
        where = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        return Problem("E_DISK", where, "Choose a folder that can be written and has free space.")
    message = f"{type(error).__name__}: {error}"
    return Problem("E_INTERNAL", message, "This is a fault of GP3D; please report it with the log.")


CLASS_ADVICE = "Choose one of the model's classes."
COMBINE_ADVICE = "Choose objects of one model that has late style codes."
_PROBLEMS: tuple[tuple[type[Exception], str, str], ...] = (  # an error, its code, what to do
    (EmptyMeshError, "E_EMPTY_MESH", "Choose a lower level, or another seed."),
    (BudgetError, "E_TOO_LARGE", "Allow more bytes, or choose a format that takes fewer."),
    (UnknownSizeError, "E_SIZE", "Give a size in metres."),
    (MemoryLimitError, "E_OOM", "Choose a lower quality: a smaller grid."),
    (LibraryError, "E_PROTOCOL", "Choose another format, or install what it needs."),
    (MeshError, "E_BAD_WEIGHTS", "Choose another seed or another snapshot."),
    (PictureError, "E_PICTURE", "Choose another picture."),
    (SnapshotError, "E_BAD_WEIGHTS", "Choose another snapshot."),
    (RunError, "E_NO_WEIGHTS", "Name a snapshot file or a run folder."),
    (PlaceError, "E_DISK", "Choose another folder."),
)
