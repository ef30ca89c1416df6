"""The commands `gp3d vq3d …` that make scenes and show them; those that change scenes stand in `editing`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gp3d_core.cli.arguments import (
    any_path,
    new_path,
    number,
    parse_seeds,
    report,
    share_cores,
)
from gp3d_core.cli.generate import add_mesh_options, check_formats_use, mesh_options
from gp3d_core.cli.process.imports import for_good
from gp3d_core.errors import GP3DError
from gp3d_core.meshing.files.formats import FORMATS
from gp3d_core.meshing.options import SceneMeshOptions
from gp3d_core.pretrained import vq3d_tokenizer
from gp3d_core.signals import shown_progress
from gp3d_core.vq3d.files.metadata import check_scene_file, check_tokenizer
from gp3d_core.vq3d.scenes.outputs import (
    check_folder,
    check_mesh,
    check_pictures,
    picture_stems,
)

if TYPE_CHECKING:
    from gp3d_core.vq3d.files.tokenizer_file import TokenizerSnapshot
    from gp3d_core.vq3d.scenes.scenefile import Scene

_LISTED = 10  # pictures that were refused, before the rest is counted


def add_scene_verbs(verbs: argparse._SubParsersAction[Any]) -> None:
    """Adds `reconstruct`, `sample`, `orbit` and `mesh` to the verbs of `gp3d vq3d`."""
    _add_reconstruct(verbs)
    _add_sample(verbs)
    _add_orbit(verbs)
    _add_mesh(verbs)


def add_views(parser: argparse.ArgumentParser) -> None:
    """Adds what decides how scenes are drawn, and where."""
    size = number(int, 8, 2048)
    parser.add_argument("--resolution", type=size, default=128, help="pixels of a view (default 128)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")


def _add_reconstruct(verbs: argparse._SubParsersAction[Any]) -> None:
    parser = verbs.add_parser("reconstruct", help="pictures to scenes, each in one pass")
    add = parser.add_argument
    add(
        "tokenizer",
        type=any_path,
        help="tokenizer, the folder of its run (the newest), or box: the one that comes along",
    )
    add("pictures", type=any_path, nargs="+", metavar="IMG", help="photographs of any size")
    add("--out", type=new_path, default=Path("scenes"), help="folder of scenes and a sheet (default scenes)")
    add("--fit", choices=("crop", "letterbox"), default="crop", help="square in the middle, or all on white")
    several = "the pictures show one thing and become one scene: yaw of each camera, the first 0, or auto to find them"
    add("--yaws", type=_read_yaws, metavar="0,Y,…", help=several)
    above = "degrees that all their cameras look down (default 0)"
    add("--elevation", type=number(float, -80, 80), metavar="E", help=above)
    add_views(parser)
    parser.set_defaults(command=_reconstruct)


def _read_yaws(text: str) -> list[float] | str:
    """Degrees between commas, or auto."""
    if text == "auto":
        return text
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"expects degrees with commas, or auto, found {text!r}") from None


def _add_sample(verbs: argparse._SubParsersAction[Any]) -> None:
    parser = verbs.add_parser("sample", help="new scenes of a class")
    add = parser.add_argument
    add(
        "prior",
        type=any_path,
        help="prior, the folder of its run (the newest), or box: the one that comes along",
    )
    add("--tokenizer", type=any_path, help="its tokenizer (default: the copy in its folder)")
    add(
        "--class",
        dest="class_name",
        metavar="NAME",
        help="name, index, WordNet id or word that fits one class (default: any)",
    )
    add("--seeds", default="0", help="e.g. 0-3,9 (default 0)")
    add("--temperature", type=number(float, 0, 10), default=1.0, help="0 takes the likeliest (default 1)")
    add("--top-k", type=number(int, 0, 1e6), default=0, help="only the likeliest so many codes; 0 for all")
    add("--top-p", type=number(float, 1e-6, 1), default=1.0, help="only the likeliest up to this sum")
    guidance = "towards the class; 1 for none (default)"
    add("--cfg", dest="guidance", metavar="G", type=number(float, 0, 20), default=1.0, help=guidance)
    add("--out", type=new_path, default=Path("scenes"), help="folder of scenes and a sheet (default scenes)")
    add_views(parser)
    parser.set_defaults(command=_sample)


def _add_orbit(verbs: argparse._SubParsersAction[Any]) -> None:
    parser = verbs.add_parser("orbit", help="a film of a scene, or one view of it, beside its disparity")
    add = parser.add_argument
    add("scene", type=any_path, help="scene file")
    add("--out", type=new_path, required=True, help="film in .gif or .mp4; .png for one view")
    add("--yaw", type=number(float, -80, 80), help="degrees to either side (default 15; of one view 0)")
    add("--pitch", type=number(float, -60, 60), help="degrees up and down (default 5; of one view 0)")
    add("--dolly", type=number(float, 0.2, 5), default=1.0, help=".png: factor on the distance (default 1)")
    add("--frames", type=number(int, 2, 10_000), default=32, help="of a film (default 32)")
    add_views(parser)
    parser.set_defaults(command=_orbit)


def _add_mesh(verbs: argparse._SubParsersAction[Any]) -> None:
    parser = verbs.add_parser("mesh", help="the mesh of what a scene's camera sees")
    add = parser.add_argument
    add("scene", type=any_path, help="scene file")
    add("--out", type=new_path, required=True, help=f"mesh in .{', .'.join(FORMATS)}")
    add("--mask", type=any_path, metavar="PICTURE", help="keep only the subject: white, or not transparent")
    add_mesh_options(parser, SceneMeshOptions)
    add("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.set_defaults(command=_mesh)


def _reconstruct(options: argparse.Namespace) -> int:
    share_cores()
    if options.elevation is not None and options.yaws is None:
        raise GP3DError("--elevation is of pictures of one thing; say their --yaws too, or --yaws auto")
    stems = picture_stems(options.pictures)
    check_folder(options.out, stems, options.pictures)
    path = check_tokenizer(options.tokenizer)
    check_folder(options.out, stems, [path])
    from gp3d_core.distributed import pick_device
    from gp3d_core.vq3d.files.tokenizer_file import load_tokenizer
    from gp3d_core.vq3d.scenes.export import write_reconstructions
    from gp3d_core.vq3d.scenes.reconstruction import reconstruct_files

    snapshot = load_tokenizer(path, pick_device(options.device))
    if options.yaws is not None:
        return _fuse(options, snapshot, stems[0])
    with shown_progress() as progress:
        pictures = dict(zip(stems, options.pictures, strict=True))
        made, refused = reconstruct_files(snapshot, pictures, options.fit, progress)
        _print_all(write_reconstructions(made, options.out, resolution=options.resolution, progress=progress))
    _tell_limits(snapshot)
    return _tell_refused(refused, len(stems))


def _fuse(options: argparse.Namespace, snapshot: TokenizerSnapshot, stem: str) -> int:
    """All pictures to one scene, called as the first of them."""
    from gp3d_core.vq3d.scenes.export import write_reconstructions
    from gp3d_core.vq3d.scenes.fusion import fuse
    from gp3d_core.vq3d.scenes.reconstruction import open_picture

    yaws = None if options.yaws == "auto" else options.yaws
    names = [path.name for path in options.pictures]
    with shown_progress() as progress:
        pictures = [open_picture(path) for path in options.pictures]
        fused = fuse(snapshot, pictures, names, yaws, options.fit, options.elevation or 0.0, progress)
        asked = ({stem: fused.first}, options.out)
        _print_all(write_reconstructions(*asked, resolution=options.resolution, progress=progress))
    for name, yaw, before, after in zip(names, fused.yaws, fused.alone, fused.together, strict=True):
        print(f"{name}: yaw {yaw:g}°, {before:.1f} dB alone, {after:.1f} dB together", file=sys.stderr)
    _tell_limits(snapshot)
    why = "left out: no scene shows it as well along with the others as its own does; is its yaw right?"
    return _tell_refused([f"{names[k]} {why}" for k in fused.left_out], len(names))


def _print_all(paths: Iterable[Path]) -> None:
    for path in paths:
        print(path)


def _tell_limits(snapshot: TokenizerSnapshot) -> None:
    """What the little model that comes along cannot do, for people who give it photographs."""
    if snapshot.path == vq3d_tokenizer():
        known = f"{len(snapshot.classes)} kinds of rendered objects in plain rooms"
        print(
            f"the pretrained model knows {known}; a photograph of anything else becomes a lump",
            file=sys.stderr,
        )


def _tell_refused(refused: list[str], count: int) -> int:
    """Lists the pictures that could not be used; the exit code."""
    if not refused:
        return 0
    print(f"{len(refused)} of {count} pictures refused:", file=sys.stderr)
    for line in refused[:_LISTED]:
        print(f"  {line}", file=sys.stderr)
    if len(refused) > _LISTED:
        print(f"  … and {len(refused) - _LISTED} more", file=sys.stderr)
    return GP3DError.exit_code


def _sample(options: argparse.Namespace) -> int:
    share_cores()
    seeds = parse_seeds(options.seeds)
    check_folder(options.out, (), ())
    from gp3d_core.vq3d.files.metadata import find_prior, label_of, prior_classes

    label_of(options.class_name, prior_classes(options.prior), find_prior(options.prior), report)
    with for_good():
        from gp3d_core.distributed import pick_device
        from gp3d_core.vq3d.files.prior_file import load_prior
        from gp3d_core.vq3d.models.prior import Sampling
        from gp3d_core.vq3d.scenes.export import write_samples

    sampling = Sampling(options.temperature, options.top_k, options.top_p, options.guidance)
    prior = load_prior(options.prior, options.tokenizer, pick_device(options.device))
    asked = (prior, options.class_name, seeds, sampling, options.out)
    with shown_progress() as progress:
        _print_all(write_samples(*asked, resolution=options.resolution, progress=progress))
    return 0


def open_scene(path: Path, options: argparse.Namespace) -> Scene:
    """The scene at `path`, on the device that was asked for."""
    from gp3d_core.distributed import pick_device
    from gp3d_core.vq3d.scenes.scenefile import load_scene

    return load_scene(path, pick_device(options.device))


def _orbit(options: argparse.Namespace) -> int:
    share_cores()
    check_pictures(options.out, [options.scene])
    check_scene_file(options.scene)
    from gp3d_core.vq3d.scenes.export import write_orbit

    scene = open_scene(options.scene, options)
    wanted = {name: getattr(options, name) for name in ("yaw", "pitch", "dolly", "frames", "resolution")}
    with shown_progress() as progress:
        write_orbit(scene, options.out, **wanted, progress=progress)
    print(options.out)
    return 0


def _mesh(options: argparse.Namespace) -> int:
    share_cores()
    check_mesh(options.out, [options.scene])
    check_formats_use(options, [options.out.suffix.lower().removeprefix(".")])
    check_scene_file(options.scene)
    from gp3d_core.meshing.components import loss_in_words
    from gp3d_core.vq3d.scenes.export import write_scene_mesh

    chosen = mesh_options(options, SceneMeshOptions)
    scene = open_scene(options.scene, options)
    with shown_progress() as progress:
        out, mesh, facts = write_scene_mesh(scene, options.out, chosen, progress, options.mask)
    sides = " × ".join(f"{side:.2f}" for side in mesh.vertices.max(axis=0) - mesh.vertices.min(axis=0))
    loss = loss_in_words(facts["dropped"], facts["dropped_area"])
    print(f"{len(mesh.faces)} faces{loss}, {sides} units", file=sys.stderr)
    print(out)
    return 0
