"""Models of the game 0 A.D. (Debian's 0ad-data): animals in coats and poses, buildings, tools, plants.

Every look of the actors in the table is a model, and so are moments of its animations.

Looks of one class that share a mesh are one model and its variants: the first stands for itself, the others have it as
their parent, and so have poses. So no two of them are on different sides of the split.
"""

from __future__ import annotations

import argparse
import weakref
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from synthetic.layouts.licences import Credit
from synthetic.layouts.shapenet import BrokenModelError, LibraryError
from synthetic.library.models import LibraryJob, LibraryModel, LibrarySource
from synthetic.library.zeroad.actors import read_actor
from synthetic.library.zeroad.assembly import Assembly, Pose, Wishes
from synthetic.library.zeroad.looks import Look, clips, color_of, generator, looks
from synthetic.library.zeroad.package import AUTHOR, LICENCE, VERSION, Package, open_package
from synthetic.library.zeroad.table import Entry, entries
from synthetic.workers.scratch import scratch_folder

SOURCE_HELP = "Debian's 0ad-data: the .deb, its public.zip, or a folder that has one of them or art/ unpacked"

_MOST_POSES = 1000
_HOME = "https://www.wildfiregames.com/"  # its licence asks for both links
_TERMS = "https://creativecommons.org/licenses/by-sa/3.0/"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this source."""
    parser.add_argument_group("variation").add_argument(
        "--poses",
        type=int,
        default=0,
        metavar="N",
        help="of every look that has animations also N moments of them (default: 0)",
    )


def open_source(arguments: argparse.Namespace) -> LibrarySource:
    """The models of the package at `arguments.source`; raises LibraryError where there is none."""
    if not 0 <= arguments.poses <= _MOST_POSES:
        raise LibraryError(f"--poses must be 0 to {_MOST_POSES}, found {arguments.poses}")
    if arguments.seed < 0:
        raise LibraryError(f"--seed must be 0 or more, found {arguments.seed}")
    with ExitStack() as stack:
        scratch = stack.enter_context(scratch_folder("0ad"))
        package = open_package(arguments.source, scratch)
        # a .deb's public.zip lies there as long as it is read
        weakref.finalize(package, stack.pop_all().close)
    jobs, unusable = models(package, arguments.poses, arguments.seed)
    notes = []
    if package.version != VERSION:
        found = package.version or "none"
        notes.append(
            f"{arguments.source}: is of version {found}; what things show was looked at in {VERSION}"
        )
    return LibrarySource(jobs, unusable, {"poses": arguments.poses}, notes)


@dataclass(frozen=True)
class Plan:
    """A model to be made: a look, in a pose or as modelled; `parent` is the key that it is a variant of."""

    look: Look
    pose: Pose | None
    seed: int
    parent: str


def models(package: Package, poses: int, seed: int) -> tuple[list[LibraryJob], dict[str, str]]:
    """Jobs for the table's actors, and by key why others have none."""
    unusable: dict[str, str] = {}
    families: dict[tuple[str, str], dict[object, tuple[Entry, Look]]] = {}
    for entry in entries():
        try:
            found = looks(read_actor(package, f"{entry.actor}.xml"))
        except BrokenModelError as error:
            unusable[f"{_folder(entry)}/{entry.identifier}"] = str(error)
            continue
        for look in found:
            mesh = look.variant.mesh or entry.actor
            family = families.setdefault((entry.object_class.wnid, mesh), {})
            family.setdefault((look.seen, look.actor.material), (entry, look))
    jobs: list[LibraryJob] = []
    taken: set[str] = set()
    for family in families.values():
        members = list(family.values())
        first = members[0][0]
        identifier = _free(first.identifier, f"{_folder(first)}/", taken)
        jobs += _jobs(package, identifier, members, poses, seed)
    return jobs, unusable


def _free(identifier: str, folder: str, taken: set[str]) -> str:
    """A name that no family has yet: an actor with several meshes gives several."""
    number, name = 1, identifier
    while folder + name in taken:
        number += 1
        name = f"{identifier}-{number}"
    taken.add(folder + name)
    return name


def _jobs(
    package: Package, identifier: str, family: Sequence[tuple[Entry, Look]], poses: int, seed: int
) -> Iterator[LibraryJob]:
    """The first look, the other looks, then rounds of poses, so that more poses leave the names of the others."""
    entry = family[0][0]
    key = f"{_folder(entry)}/{identifier}"
    plans = {identifier: Plan(family[0][1], None, seed, "")}
    for number, (_, look) in enumerate(family[1:], 2):
        plans[f"{identifier}-look{number:02d}"] = Plan(look, None, seed, key)
    moving = [(look, clips(look.variant)) for _, look in family]
    turns = [(turn, *one) for turn in range(poses) for one in moving if one[1]]
    for number, (turn, look, of_look) in enumerate(turns, 1):
        random = generator("pose", seed, key, look.variant.name, look.actor.name, turn)
        clip = of_look[int(random.integers(len(of_look)))]
        plans[f"{identifier}-pose{number:02d}"] = Plan(look, Pose(clip, float(random.random())), seed, key)
    for name, plan in plans.items():
        yield LibraryJob(name, entry.object_class, partial(make, package, plan, name), LICENCE)


def _folder(entry: Entry) -> str:
    return entry.object_class.synset or entry.object_class.wnid[1:]


def make(package: Package, plan: Plan, name: str, workspace: Path) -> LibraryModel:
    """The model of a plan, its textures in `workspace`; BrokenModelError with the reason."""
    actor, pose = plan.look.actor, plan.pose
    wishes = Wishes(pose, color_of([plan.seed, name]))
    assembly = Assembly(package, wishes, workspace, generator("parts", plan.seed, name))
    surface = assembly.surface(plan.look.variant, actor.material)
    changes = ["converted from the game's formats", "textures to PNG"]
    if any(material.alpha == "mask" for material in surface.materials):
        changes.append("half-transparent edges cut")
    if pose is not None:
        changes.append(f"posed by {pose.clip.file} at {pose.phase:.3f} of its length")
    credit = Credit(
        AUTHOR,
        LICENCE,
        f"0 A.D. ({_HOME}), Debian's 0ad-data {package.version or '(version unknown)'}, "
        f"art/actors/{actor.name}, terms: {_TERMS}",
        ", ".join(changes),
        plan.parent,
    )
    tags: dict[str, object] = {
        "actor": actor.name,
        "look": plan.look.variant.name,
        "mesh": plan.look.variant.mesh,
        "members": sorted(assembly.members),
    }
    if pose is not None:
        tags |= {"clip": pose.clip.file, "phase": round(pose.phase, 6)}
    return LibraryModel(surface, credit, tags)
