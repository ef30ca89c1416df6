"""The commands `gp3d vq3d …` that make a scene of other scenes: insert, remove, move, interpolate."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gp3d_core.cli.arguments import (
    UsageError,
    any_path,
    new_path,
    number,
)
from gp3d_core.cli.vq3d.scenes import add_views, open_scene
from gp3d_core.signals import shown_progress
from gp3d_core.vq3d.files.metadata import check_scene_file
from gp3d_core.vq3d.scenes.outputs import check_pictures, check_scene, is_scene

if TYPE_CHECKING:
    from gp3d_core.vq3d.scenes.composition import Region
    from gp3d_core.vq3d.scenes.editing import Motion
    from gp3d_core.vq3d.scenes.scenefile import Scene

_FEW, _MANY = 0.01, 0.6  # of the picture, beyond which a choice is likely not the one that was meant
_BEYOND = 0.02  # of an object out of the picture: not worth a word


def add_edit_verbs(verbs: argparse._SubParsersAction[Any]) -> None:
    """Adds `insert`, `remove`, `move` and `interpolate` to the verbs of `gp3d vq3d`."""
    _add_insert(verbs)
    _add_remove(verbs)
    _add_move(verbs)
    _add_interpolate(verbs)


def _numbers(count: int) -> Callable[[str], tuple[float, ...]]:
    """Reads `count` finite numbers between commas."""

    def read(text: str) -> tuple[float, ...]:
        try:
            values = tuple(float(part) for part in text.split(","))
        except ValueError:
            values = ()
        if len(values) != count or not all(abs(value) < 1e6 for value in values):
            raise argparse.ArgumentTypeError(f"expects {count} numbers with commas, found {text!r}")
        return values

    return read


def _add_choice(parser: argparse.ArgumentParser, of_what: str) -> None:
    """Which object is meant, in one of three ways."""
    add = parser.add_mutually_exclusive_group(required=True).add_argument
    add(
        "--mask",
        type=any_path,
        metavar="PICTURE",
        help=f"white where the object is, in the picture of {of_what}",
    )
    part = "what stands out in this part of it, from 0 to 1: leave some room around the object"
    add("--region", type=_numbers(4), metavar="L,T,R,B", help=part)
    add("--box", type=_numbers(6), metavar="X,Y,Z,X,Y,Z", help="what is between two corners in space")
    out = "the new scene in .safetensors, with a picture beside it in .view.png"
    parser.add_argument("--out", type=new_path, required=True, help=out)


def _add_reach(parser: argparse.ArgumentParser) -> None:
    reach = "how deep the object is behind what is seen of it, as a share of all depths (default 0.25)"
    parser.add_argument("--reach", type=number(float, 0.001, 1), default=0.25, help=reach)


def _add_motion(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--shift", type=_numbers(3), default=(0.0, 0.0, 0.0), metavar="X,Y,Z", help="right, up, nearer")
    add("--scale", type=number(float, 0.01, 100), default=1.0, help="of its size (default 1)")
    add("--yaw", type=number(float, -180, 180), default=0.0, help="degrees about the vertical (default 0)")


def _add_insert(verbs: argparse._SubParsersAction[Any]) -> None:
    parser = verbs.add_parser(
        "insert", help="an object of scene B into scene A, hiding and hidden as it should"
    )
    parser.add_argument("scene", type=any_path, metavar="A", help="scene file")
    parser.add_argument("other", type=any_path, metavar="B", help="scene file that has the object")
    _add_choice(parser, "B")
    _add_reach(parser)
    _add_motion(parser)
    add_views(parser)
    parser.set_defaults(command=_insert)


_BEHIND = "Behind it shows what the scene has there: nothing is made up, so shadows and traces may stay."


def _add_remove(verbs: argparse._SubParsersAction[Any]) -> None:
    parser = verbs.add_parser("remove", help="an object out of a scene", description=_BEHIND)
    parser.add_argument("scene", type=any_path, help="scene file")
    _add_choice(parser, "the scene")
    add_views(parser)
    parser.set_defaults(command=_remove)


def _add_move(verbs: argparse._SubParsersAction[Any]) -> None:
    parser = verbs.add_parser("move", help="an object of a scene to another place in it", description=_BEHIND)
    parser.add_argument("scene", type=any_path, help="scene file")
    _add_choice(parser, "the scene")
    _add_reach(parser)
    _add_motion(parser)
    add_views(parser)
    parser.set_defaults(command=_move)


def _add_interpolate(verbs: argparse._SubParsersAction[Any]) -> None:
    parser = verbs.add_parser("interpolate", help="from one scene to another")
    add = parser.add_argument
    add("scene", type=any_path, metavar="A", help="scene file")
    add("other", type=any_path, metavar="B", help="scene file")
    out = "film in .gif or .mp4, .png of a few steps, or one .safetensors with a .view.png beside it"
    add("--out", type=new_path, required=True, help=out)
    kinds = "mix tri-planes (default), or densities"
    add("--kind", choices=("planes", "field"), default="planes", help=kinds)
    add("--frames", type=number(int, 2, 10_000), help="of a film (default 32) or picture (default 7)")
    add("--at", type=number(float, 0, 1), default=0.5, help=".safetensors: 0 is A, 1 is B (default 0.5)")
    add_views(parser)
    parser.set_defaults(command=_interpolate)


def _insert(options: argparse.Namespace) -> int:
    check_scene(options.out, _inputs(options, options.scene, options.other))
    check_scene_file(options.scene)
    check_scene_file(options.other)
    from gp3d_core.vq3d.scenes.editing import insert, share_beyond

    scene, other = open_scene(options.scene, options), open_scene(options.other, options)
    region = _chosen(other, options, options.reach)
    _say_beyond(share_beyond(scene, other, region, _motion(options)))
    made = insert(scene, other, region, _motion(options))
    heads = [("A", scene.source), ("B", other.source), ("B's object in A",)]
    return _keep([scene, other, made], heads, options)


def _remove(options: argparse.Namespace) -> int:
    check_scene(options.out, _inputs(options, options.scene))
    check_scene_file(options.scene)
    from gp3d_core.vq3d.scenes.editing import remove

    scene = open_scene(options.scene, options)
    made = remove(scene, _chosen(scene, options))
    return _keep([scene, made], [("before", scene.source), ("removed",)], options)


def _move(options: argparse.Namespace) -> int:
    check_scene(options.out, _inputs(options, options.scene))
    if not any(options.shift) and options.scale == 1 and options.yaw == 0:
        raise UsageError("move expects --shift, --scale or --yaw: without one of them nothing moves")
    check_scene_file(options.scene)
    from gp3d_core.vq3d.scenes.editing import move, share_beyond

    scene = open_scene(options.scene, options)
    region = _chosen(scene, options, options.reach)
    _say_beyond(share_beyond(scene, scene, region, _motion(options)))
    made = move(scene, region, _motion(options))
    return _keep([scene, made], [("before", scene.source), ("moved",)], options)


def _interpolate(options: argparse.Namespace) -> int:
    check = check_scene if is_scene(options.out) else check_pictures
    check(options.out, [options.scene, options.other])
    check_scene_file(options.scene)
    check_scene_file(options.other)
    from gp3d_core.vq3d.scenes.export import write_interpolation

    scene, other = open_scene(options.scene, options), open_scene(options.other, options)
    wanted = {"kind": options.kind, "frames": options.frames, "resolution": options.resolution}
    with shown_progress() as progress:
        made = write_interpolation(scene, other, options.out, share=options.at, progress=progress, **wanted)
    print(*made, sep="\n")
    if not is_scene(options.out):
        print("quantised codes promise no meaningful way between two scenes", file=sys.stderr)
    return 0


def _inputs(options: argparse.Namespace, *scenes: Path) -> list[Path]:
    """What must not be replaced."""
    return [*scenes, *([] if options.mask is None else [options.mask])]


def _chosen(scene: Scene, options: argparse.Namespace, reach: float = 0.25) -> Region:
    """The region of `scene` that is meant; how much of its picture that is goes to stderr."""
    from gp3d_core.vq3d.scenes.editing import WHOLE, Choice, choose_region, share_of

    region = choose_region(scene, Choice(options.mask, options.box, options.region or WHOLE, reach))
    share = share_of(scene, region)
    remark = (
        "" if _FEW <= share <= _MANY else "; is that all of it?" if share < _FEW else "; is that one object?"
    )
    print(f"chosen: {share:.1%} of the picture{remark}".replace("%", " %"), file=sys.stderr)
    return region


def _say_beyond(share: float) -> None:
    """Says how much of an object is where the picture does not show it."""
    if share > _BEYOND:
        words = f"{share:.0%} of it reaches out of the picture".replace("%", " %")
        print(f"{words}: a smaller --scale or another --shift keeps it in", file=sys.stderr)


def _motion(options: argparse.Namespace) -> Motion:
    from gp3d_core.vq3d.scenes.editing import Motion

    return Motion(options.scale, options.yaw, options.shift)


def _keep(scenes: list[Scene], heads: Sequence[Sequence[str]], options: argparse.Namespace) -> int:
    """Writes the last of the scenes, and beside it a picture of it after those it was made of."""
    from gp3d_core.vq3d.scenes.export import write_edited

    with shown_progress() as progress:
        for path in write_edited(
            scenes, options.out, heads=heads, resolution=options.resolution, progress=progress
        ):
            print(path)
    return 0
