"""Objects made by named factories of Infinigen, whose classes a reviewed table gives (factories.tsv)."""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from synthetic.layouts.imagenet import imagenet_classes
from synthetic.layouts.licences import Credit
from synthetic.layouts.shapenet import LibraryError, ObjectClass
from synthetic.layouts.taxonomy import SHAPENET_CATEGORIES
from synthetic.library.infinigen.job import FactoryJob
from synthetic.library.infinigen.process import COMMAND, ChildLimits, surface_of
from synthetic.library.models import LibraryJob, LibraryModel, LibrarySource

VERSION = "1.15.5"  # which the table was made with
SOURCE_HELP = ""  # there is none but the factories
_TABLE = Path(__file__).with_name("factories.tsv")
_CREDIT = Credit(
    "Infinigen (Princeton Vision & Learning Lab), generated",
    "BSD-3-Clause",
    f"infinigen {VERSION}",
    "materials baked into one texture, faces reduced",
)
_NEEDED = (  # what the factories import, gp3d's own requirements apart
    "bpy",
    "cv2",
    "geomdl",
    "gin",
    "imageio",
    "infinigen",
    "networkx",
    "OpenEXR",
    "psutil",
    "skimage",
    "sklearn",
)
_INSTALL = f'pip install "gp3d[synthetic,infinigen]" && pip install --no-deps infinigen=={VERSION}'


@dataclass(frozen=True)
class Factory:
    """A factory that was looked at: its name in Infinigen, its class, and the axis of Blender's world it faces."""

    name: str
    object_class: ObjectClass
    facing: str

    @property
    def short(self) -> str:
        """Its name without the word that all names have."""
        return self.name.replace("Factory", "")


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of this source."""
    group = parser.add_argument_group("factories")
    group.add_argument(
        "--factories",
        default="",
        metavar="LIST",
        help="only these, such as Vase,Toilet (default: all of docs/libraries.md)",
    )
    group.add_argument("--per-factory", type=int, default=3, metavar="N", help="objects of each (default: 3)")
    group.add_argument(
        "--max-faces", type=int, default=20000, metavar="N", help="triangles of an object (default: 20000)"
    )
    group.add_argument(
        "--texture", type=int, default=512, metavar="N", help="texels a side of its texture (default: 512)"
    )
    group.add_argument(
        "--object-seconds",
        type=float,
        default=300.0,
        metavar="S",
        help="of one object at most (default: 300)",
    )
    group.add_argument(
        "--megabytes",
        type=int,
        default=6144,
        metavar="N",
        help="memory of one object's process (default: 6144)",
    )
    group.add_argument(
        "--threads", type=int, default=0, metavar="N", help="of one object's process (default: all cores)"
    )


def open_source(arguments: argparse.Namespace, command: Sequence[str] = COMMAND) -> LibrarySource:
    """The objects that are asked for. Raises LibraryError for what cannot be, or where Infinigen is not installed.

    `command` is that of the process that makes an object.
    """
    for name, least in (("per_factory", 1), ("seed", 0), ("max_faces", 4), ("texture", 16), ("threads", 0)):
        if getattr(arguments, name) < least:
            option = name.replace("_", "-")
            raise LibraryError(f"--{option} must be at least {least}, found {getattr(arguments, name)}")
    if not min(arguments.object_seconds, arguments.megabytes) > 0:
        raise LibraryError("--object-seconds and --megabytes must be more than 0")
    if arguments.texture > 8192:
        raise LibraryError(f"--texture must be at most 8192, found {arguments.texture}")
    if command is COMMAND:
        _check_installed()
    limits = ChildLimits(arguments.object_seconds, arguments.megabytes)
    jobs = [
        LibraryJob(
            f"{factory.short}-{number:04d}",
            factory.object_class,
            _Maker(
                factory,
                _seed(arguments.seed, number),
                arguments.max_faces,
                arguments.texture,
                arguments.threads,
                limits,
                tuple(command),
            ),
            _CREDIT.licence,
        )
        for factory in _chosen(arguments.factories)
        for number in range(arguments.per_factory)
    ]
    settings = {"version": VERSION, "max_faces": arguments.max_faces, "texture": arguments.texture}
    return LibrarySource(jobs, settings=settings)


@cache
def factories() -> dict[str, Factory]:
    """All of the table by their names in Infinigen."""
    found = {}
    for line in _TABLE.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            name, wnid, called, facing = line.split("\t")
            synset = wnid[1:] if wnid[1:] in SHAPENET_CATEGORIES else None
            made = imagenet_classes().get(wnid, ObjectClass(wnid, called, None, synset))
            found[name] = Factory(name, made, facing)
    return found


@dataclass(frozen=True)
class _Maker:
    """Makes one object."""

    factory: Factory
    seed: int
    max_faces: int
    texture: int
    threads: int
    limits: ChildLimits
    command: tuple[str, ...]

    def __call__(self, workspace: Path) -> LibraryModel:
        job = FactoryJob(
            self.factory.name,
            self.seed,
            workspace.absolute(),  # the child works in it
            self.max_faces,
            self.texture,
            self.factory.facing,
            self.threads,
        )
        surface = surface_of(job, self.limits, self.command)
        size = (surface.positions.max(axis=0) - surface.positions.min(axis=0)).round(4).tolist()
        return LibraryModel(
            surface, _CREDIT, {"factory": self.factory.name, "seed": self.seed, "size_in_metres": size}
        )


def _seed(run: int, number: int) -> int:
    """The factory's seed [32 bits] of an object."""
    return int.from_bytes(hashlib.sha256(f"{run}/{number}".encode()).digest()[:4], "big")


def _chosen(text: str) -> list[Factory]:
    """The factories of a list of names, with or without their "Factory"; all for none. Raises LibraryError."""
    known = factories()
    words = list(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
    if not words:
        return list(known.values())
    by_word = {factory.short.lower(): factory for factory in known.values()}
    chosen = []
    for word in words:
        factory = by_word.get(word.lower().replace("factory", ""))
        if factory is None:
            names = ", ".join(one.short for one in known.values())
            raise LibraryError(f"{word!r} is no factory that is known here; these are: {names}")
        chosen.append(factory)
    return chosen


def _check_installed() -> None:
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise LibraryError(f"Infinigen needs {', '.join(missing)}, not installed here: {_INSTALL}")
