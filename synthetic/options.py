"""Options and presets of `python -m synthetic.render`, and the settings that they stand for."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from synthetic.dataset import PASSES, Settings
from synthetic.layouts.licences import LicenceError, LicenceFilter
from synthetic.layouts.shapenet import PlacementOverrides
from synthetic.staging.treatment import ModelLimits, Treatment
from synthetic.surroundings.arguments import Asked, find_surroundings
from synthetic.surroundings.settings import SurroundingFiles, Surroundings
from synthetic.viewpoints import ViewDistribution
from synthetic.workers.run import Shard
from synthetic.workers.worker_process import RestartPolicy

_REACH = 0.55  # depth is coded from so much before the centre of the object to so much behind it
_ROOM_NEAR, _ROOM_FAR = 0.5, 12.0  # the same in a room
_ROOM_PITCH = (math.pi / 2 - 0.3, 0.08)  # there cameras stay above the ground
_ALL_PASSES = ("albedo", "normals", *PASSES)
VIEWS_PER_WORKER = 64  # as many are worth the start of another Blender


@dataclass(frozen=True)
class Preset:
    """The settings that a `--preset` stands for; options override them."""

    cameras: ViewDistribution
    views: int
    resolution: int = 256
    samples: int = 16


PRESETS = {
    "paper": Preset(ViewDistribution(), views=1),
    "turntable": Preset(
        ViewDistribution(kind="turntable", yaw=(0.0, 0.0), pitch=(math.pi / 2 - 0.35, 0.0)), views=24
    ),
    "sphere": Preset(ViewDistribution(kind="sphere"), views=24),
}


def command_line(description: str) -> argparse.ArgumentParser:
    """The parser of `python -m synthetic.render`; `description` heads its help."""
    parser = argparse.ArgumentParser(
        prog="python -m synthetic.render",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "models",
        type=Path,
        nargs="+",
        metavar="MODELS",
        help="one or more libraries: ShapeNetCore v1 or v2, or a folder a class",
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="dataset folder, new or to be continued")
    _add_picture_options(parser)
    _add_surroundings_options(parser)
    _add_camera_options(parser)
    _add_model_options(parser)
    _add_work_options(parser)
    return parser


def _add_picture_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("pictures", "what is not given is the preset's")
    group.add_argument(
        "--preset",
        choices=tuple(PRESETS),
        default="paper",
        help="paper: one view around the front; turntable: a circle; sphere: from everywhere",
    )
    group.add_argument("--resolution", type=int, help="pixels a side (256)")
    group.add_argument("--views", type=_positive, help="views a model (paper 1, others 24)")
    group.add_argument("--samples", type=int, help="light samples a pixel (16)")
    group.add_argument("--seed", type=int, default=0, help="decides the viewpoints (default: %(default)s)")
    group.add_argument(
        "--normals", action="store_true", help="also the surface normal at every pixel's centre"
    )
    group.add_argument(
        "--albedo", action="store_true", help="also the base colour without light at every pixel's centre"
    )
    group.add_argument(
        "--passes",
        type=_passes,
        default=(),
        metavar="NAME,…",
        help=f"also these at every pixel's centre: {', '.join(_ALL_PASSES)}",
    )
    add_alpha_options(group)
    add_texture_option(group)
    group.add_argument(
        "--stage",
        choices=("none", "room"),
        default="none",
        help="what is around the object: white, or ground and walls, seen from above (default: %(default)s)",
    )
    group.add_argument(
        "--license",
        default="",
        help="of the models in words, for dataset.json (default: what the library's licences.jsonl says)",
    )


def _add_surroundings_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("surroundings", "of the models; docs/rendering.md shows them")
    group.add_argument(
        "--light",
        default="paper",
        metavar="LIGHT",
        help="paper: a sky and a sun; flat: the sky alone; hdri or hdri:NAME,…: environment maps of Blender; "
        "a file or folder of such maps, .exr or .hdr (default: %(default)s)",
    )
    group.add_argument(
        "--light-each",
        choices=("model", "view"),
        default="model",
        help="one map and its turn are drawn for each (default: %(default)s)",
    )
    group.add_argument(
        "--ground",
        default="none",
        metavar="COLOR",
        help="the object stands on a ground of this colour, or random (default: %(default)s)",
    )
    group.add_argument(
        "--background",
        default="white",
        metavar="WHAT",
        help="white, a colour, random, hdri (the map of the light), or a folder of pictures (default: %(default)s)",
    )


def add_alpha_options(group: argparse._ActionsContainer) -> None:
    """The options of what becomes of parts that let light through; renders and points have to agree on them."""
    group.add_argument(
        "--transparent",
        choices=("remove", "opaque"),
        default="remove",
        help="what becomes of transparent parts (default: %(default)s)",
    )
    group.add_argument(
        "--cutouts",
        choices=("cut", "solid"),
        default="cut",
        help="parts that a texture's alpha cuts out, such as leaves, are cut or drawn whole (default: %(default)s)",
    )


def add_texture_option(group: argparse._ActionsContainer) -> None:
    """The option of what becomes of a model whose materials promise a picture that is missing."""
    group.add_argument(
        "--missing-textures",
        choices=("fail", "color"),
        default="fail",
        help="models without them fail, or show the material's plain colour (default: %(default)s)",
    )


def add_licences_option(group: argparse._ActionsContainer) -> None:
    """The option of which models may be used, by their licences."""
    group.add_argument(
        "--licences",
        type=_licences,
        metavar="LIST",
        help="only models of these licences, such as cc0,cc-by,MIT: families or SPDX identifiers (default: all)",
    )


def _licences(text: str) -> LicenceFilter:
    try:
        return LicenceFilter.parse(text)
    except LicenceError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _add_camera_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("cameras", "angles in radians but for --fov, lengths in world units")
    group.add_argument("--yaw", type=float, nargs=2, metavar=("MEAN", "STD"), help="paper: 0 pi/8")
    group.add_argument("--pitch", type=float, nargs=2, metavar=("MEAN", "STD"), help="paper: pi/2 pi/8")
    group.add_argument("--turn", type=_positive, help="views in a full circle of a turntable (all of them)")
    group.add_argument("--radius", type=float, help="of the cameras' sphere (2)")
    group.add_argument("--fov", type=float, help="full field of view in degrees (40)")
    group.add_argument(
        "--near-far",
        type=float,
        nargs=2,
        metavar=("NEAR", "FAR"),
        help=f"ray distances between which depth is coded (radius -+ {_REACH}; on a ground {_ROOM_NEAR} {_ROOM_FAR:g})",
    )


def _add_model_options(parser: argparse.ArgumentParser) -> None:
    group, limits, restart_policy = parser.add_argument_group("models"), ModelLimits(), RestartPolicy()
    group.add_argument("--limit", type=_positive, help="only this many models, the classes taking turns")
    group.add_argument(
        "--per-class", type=_positive, metavar="N", help="only the first N models of each class by name"
    )
    group.add_argument(
        "--split",
        choices=("all", "train", "test"),
        default="all",
        help="only one side of the stable split (default: %(default)s)",
    )
    group.add_argument(
        "--front", help="axis of the files that is the front, such as -z (decided by the layout)"
    )
    group.add_argument("--up", help="axis of the files that is up (+y)")
    group.add_argument(
        "--normalise",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="centre every model and scale its box to diagonal 1 (all layouts but ShapeNetCore.v2)",
    )
    add_licences_option(group)
    group.add_argument("--strict", action="store_true", help="stop at the first broken model")
    group.add_argument("--retry", action="store_true", help="try models again that failed in earlier runs")
    group.add_argument(
        "--max-failures",
        type=float,
        default=0.5,
        metavar="SHARE",
        help="stop when more than this share of at least 50 models failed (default: %(default)s)",
    )
    group.add_argument(
        "--model-seconds",
        type=float,
        default=restart_policy.model_seconds,
        metavar="S",
        help="most that loading a model or drawing one view may take (default: %(default)s)",
    )
    group.add_argument("--max-faces", type=int, default=limits.max_faces, help="default: %(default)s")
    group.add_argument(
        "--max-megabytes", type=int, default=limits.max_megabytes, help="of a file (%(default)s)"
    )
    group.add_argument(
        "--max-texture", type=int, default=limits.max_texture_side, help="pixels a side (%(default)s)"
    )


def _add_work_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("work")
    group.add_argument(
        "--workers",
        type=_positive,
        metavar="N",
        help=f"processes (default: one for every {VIEWS_PER_WORKER} views begun, at most one a core)",
    )
    group.add_argument(
        "--threads", type=_positive, metavar="N", help="threads a process (the cores left over)"
    )
    group.add_argument(
        "--shard",
        type=_shard,
        default=Shard(),
        metavar="I/N",
        help="only part I of N, of the models asked for; all parts may share OUT",
    )
    group.add_argument(
        "--resume",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="continue an OUT that holds views already (default)",
    )
    group.add_argument("--time-limit", type=float, metavar="S", help="stop after so many seconds")
    group.add_argument(
        "--recycle",
        type=_positive,
        default=RestartPolicy().models,
        metavar="N",
        help="a fresh Blender after so many jobs (default: %(default)s)",
    )
    group.add_argument(
        "--engine", choices=("local", "ray"), default="local", help="this machine, or a Ray cluster"
    )
    group.add_argument("--address", help="of the Ray cluster, such as auto (default: one on this machine)")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected at least 1, found {number}")
    return number


def _passes(text: str) -> tuple[str, ...]:
    names = [name.strip() for name in text.split(",")]
    unknown = [name for name in names if name not in _ALL_PASSES]
    if unknown:
        raise argparse.ArgumentTypeError(f"expected some of {','.join(_ALL_PASSES)}, found {unknown[0]!r}")
    return tuple(name for name in _ALL_PASSES if name in names)


def _shard(text: str) -> Shard:
    try:
        return Shard.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def with_axes(argv: Sequence[str]) -> list[str]:
    """The arguments with `--front -z` as `--front=-z`: alone, argparse takes an axis with a minus for an option."""
    joined: list[str] = []
    for word in argv:
        if joined and joined[-1] in ("--front", "--up") and re.fullmatch("[+-][xyz]", word):
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


def placement_of(arguments: argparse.Namespace) -> PlacementOverrides:
    """What the command line says of how models stand, where it says something."""
    overrides: PlacementOverrides = {}
    if arguments.front is not None:
        overrides["front"] = arguments.front
    if arguments.up is not None:
        overrides["up"] = arguments.up
    if arguments.normalise is not None:
        overrides["normalise"] = arguments.normalise
    return overrides


def surroundings_of(arguments: argparse.Namespace) -> tuple[Surroundings, SurroundingFiles]:
    """What the command line wants around the models, and the files of that. Raises SurroundingsError."""
    asked = Asked(
        light=arguments.light,
        light_each=arguments.light_each,
        ground=arguments.ground,
        background=arguments.background,
    )
    return find_surroundings(asked, arguments.max_texture)


def settings_of(arguments: argparse.Namespace, surroundings: Surroundings | None = None) -> Settings:
    """The preset with what the command line overrides; completes `arguments.views`. Raises ValueError."""
    surroundings = surroundings or Surroundings()
    preset = PRESETS[arguments.preset]
    usual = preset.cameras
    if usual.kind == "sphere" and (arguments.yaw or arguments.pitch):
        raise ValueError("cameras all over a sphere have no --yaw and --pitch")
    room = arguments.stage == "room" or surroundings.ground != "none"
    if usual.kind == "sphere" and room:
        raise ValueError(
            "cameras all over a sphere do not fit into a room, or on a ground; use another --preset"
        )
    arguments.views = arguments.views or preset.views
    radius = usual.radius if arguments.radius is None else arguments.radius
    usual_depth = (_ROOM_NEAR, _ROOM_FAR) if room else (radius - _REACH, radius + _REACH)
    near, far = arguments.near_far or usual_depth
    cameras = ViewDistribution(
        kind=usual.kind,
        yaw=tuple(arguments.yaw or usual.yaw),
        pitch=tuple(arguments.pitch or (_ROOM_PITCH if room else usual.pitch)),
        turn=arguments.turn or (arguments.views if usual.kind == "turntable" else usual.turn),
        radius=radius,
        fov=usual.fov if arguments.fov is None else arguments.fov,
        t_near=near,
        t_far=far,
    )
    return Settings(
        resolution=preset.resolution if arguments.resolution is None else arguments.resolution,
        samples=preset.samples if arguments.samples is None else arguments.samples,
        seed=arguments.seed,
        normals=arguments.normals or "normals" in arguments.passes,
        albedo=arguments.albedo or "albedo" in arguments.passes,
        passes=tuple(name for name in PASSES if name in arguments.passes),
        stage=arguments.stage,
        surroundings=surroundings,
        cameras=cameras,
        treatment=Treatment(arguments.transparent, arguments.missing_textures, arguments.cutouts),
    )
