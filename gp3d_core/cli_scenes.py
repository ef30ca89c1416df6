"""The commands `gp3d vq3d …` that make scenes and do something with them."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from gp3d_core.arguments import UsageError, number

if TYPE_CHECKING:
    from gp3d_core.vq3d.editing import Choice, Motion
    from gp3d_core.vq3d.scenefile import Scene

_FORMATS = ("obj", "glb", "ply", "npz")


def add_scene_verbs(verbs: argparse._SubParsersAction) -> None:
    """Adds the verbs to those of `gp3d vq3d`."""
    _add_reconstruct(verbs)
    _add_sample(verbs)
    _add_orbit(verbs)
    _add_insert(verbs)
    _add_remove(verbs)
    _add_move(verbs)
    _add_interpolate(verbs)
    _add_mesh(verbs)


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


def _add_views(parser: argparse.ArgumentParser) -> None:
    size = number(int, 8, 2048)
    parser.add_argument("--resolution", type=size, default=128, help="pixels of a view (default 128)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")


def _add_reconstruct(verbs: argparse._SubParsersAction) -> None:
    parser = verbs.add_parser("reconstruct", help="pictures to scenes, each in one pass")
    add = parser.add_argument
    add("tokenizer", type=Path, help="tokenizer, or the folder of its run (the newest)")
    add("pictures", type=Path, nargs="+", metavar="IMG", help="photographs of any size")
    add("--out", type=Path, default=Path("scenes"), help="folder of scenes and a sheet (default scenes)")
    add("--fit", choices=("crop", "letterbox"), default="crop", help="square in the middle, or all on white")
    _add_views(parser)
    parser.set_defaults(command=_reconstruct)


def _add_sample(verbs: argparse._SubParsersAction) -> None:
    parser = verbs.add_parser("sample", help="new scenes of a class")
    add = parser.add_argument
    add("prior", type=Path, help="prior, or the folder of its run (the newest)")
    add("--tokenizer", type=Path, help="its tokenizer (default: the copy in its run folder)")
    add("--class", dest="query", metavar="NAME", help="name, ImageNet index or WordNet id (default: any)")
    add("--seeds", default="0", help="e.g. 0-3,9 (default 0)")
    add("--temperature", type=number(float, 0, 10), default=1.0, help="0 takes the likeliest (default 1)")
    add("--top-k", type=number(int, 0, 1e6), default=0, help="only the likeliest so many codes; 0 for all")
    add("--top-p", type=number(float, 1e-6, 1), default=1.0, help="only the likeliest up to this sum")
    add("--cfg", type=number(float, 0, 20), default=1.0, help="towards the class; 1 for none (default)")
    add("--out", type=Path, default=Path("scenes"), help="folder of scenes and a sheet (default scenes)")
    _add_views(parser)
    parser.set_defaults(command=_sample)


def _add_orbit(verbs: argparse._SubParsersAction) -> None:
    parser = verbs.add_parser("orbit", help="a film of a scene, or one view of it, beside its disparity")
    add = parser.add_argument
    add("scene", type=Path, help="scene file")
    add("--out", type=Path, required=True, help="film in .gif or .mp4; .png for one view")
    add("--yaw", type=number(float, -80, 80), default=15.0, help="degrees to either side (default 15)")
    add("--pitch", type=number(float, -60, 60), default=5.0, help="degrees up and down (default 5)")
    add("--dolly", type=number(float, 0.2, 5), default=1.0, help=".png: factor on the distance (default 1)")
    add("--frames", type=number(int, 2, 10_000), default=32, help="of a film (default 32)")
    _add_views(parser)
    parser.set_defaults(command=_orbit)


def _add_choice(parser: argparse.ArgumentParser, of_what: str) -> None:
    add = parser.add_argument
    add("--mask", type=Path, metavar="PICTURE", help=f"white where the thing is, in the picture of {of_what}")
    add(
        "--region",
        type=_numbers(4),
        metavar="L,T,R,B",
        help="or what is near in this part of it, from 0 to 1",
    )
    add("--box", type=_numbers(6), metavar="X,Y,Z,X,Y,Z", help="or what is between two corners in space")
    add(
        "--reach",
        type=number(float, 0.001, 1),
        default=0.1,
        help="how deep the thing is behind what is seen of it, as a share of all depths (default 0.1)",
    )
    add("--out", type=Path, required=True, help="the new scene, with a picture beside it")


def _add_motion(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--shift", type=_numbers(3), default=(0.0, 0.0, 0.0), metavar="X,Y,Z", help="right, up, nearer")
    add("--scale", type=number(float, 0.01, 100), default=1.0, help="of its size (default 1)")
    add("--yaw", type=number(float, -180, 180), default=0.0, help="degrees about the vertical (default 0)")


def _add_insert(verbs: argparse._SubParsersAction) -> None:
    parser = verbs.add_parser(
        "insert", help="a thing of scene B into scene A, hiding and hidden as it should"
    )
    parser.add_argument("scene", type=Path, metavar="A", help="scene file")
    parser.add_argument("other", type=Path, metavar="B", help="scene file that has the thing")
    _add_choice(parser, "B")
    _add_motion(parser)
    _add_views(parser)
    parser.set_defaults(command=_insert)


def _add_remove(verbs: argparse._SubParsersAction) -> None:
    parser = verbs.add_parser("remove", help="a thing out of a scene")
    parser.add_argument("scene", type=Path, help="scene file")
    _add_choice(parser, "the scene")
    _add_views(parser)
    parser.set_defaults(command=_remove)


def _add_move(verbs: argparse._SubParsersAction) -> None:
    parser = verbs.add_parser("move", help="a thing of a scene to another place in it")
    parser.add_argument("scene", type=Path, help="scene file")
    _add_choice(parser, "the scene")
    _add_motion(parser)
    _add_views(parser)
    parser.set_defaults(command=_move)


def _add_interpolate(verbs: argparse._SubParsersAction) -> None:
    parser = verbs.add_parser("interpolate", help="from one scene to another")
    add = parser.add_argument
    add("scene", type=Path, metavar="A", help="scene file")
    add("other", type=Path, metavar="B", help="scene file")
    add(
        "--out",
        type=Path,
        required=True,
        help="film in .gif or .mp4, .png of a few steps, or one .safetensors",
    )
    add(
        "--kind", choices=("planes", "field"), default="planes", help="mix tri-planes (default), or densities"
    )
    add("--frames", type=number(int, 2, 10_000), help="of a film (default 32) or picture (default 7)")
    add("--at", type=number(float, 0, 1), default=0.5, help=".safetensors: 0 is A, 1 is B (default 0.5)")
    _add_views(parser)
    parser.set_defaults(command=_interpolate)


def _add_mesh(verbs: argparse._SubParsersAction) -> None:
    parser = verbs.add_parser("mesh", help="the mesh of what a scene's camera sees")
    add = parser.add_argument
    add("scene", type=Path, help="scene file")
    add("--out", type=Path, required=True, help="mesh in .obj, .glb, .ply or .npz")
    add("--grid", type=number(int, 8, 1024), default=128, help="samples along an edge (default 128)")
    add("--level", default="auto", help="density of the surface, or auto")
    budget = number(int, 4, 1e8, or_zero=True)
    add("--faces", type=budget, default=30000, help="most faces, 0 for all (default 30000)")
    add("--color", choices=("texture", "vertex", "both", "none"), default="texture")
    add("--texture-size", type=number(int, 16, 8192), default=512, help="pixels (default 512)")
    add("--keep", type=number(int, 0, 1e6), default=1, help="largest pieces to keep, 0 for all (default 1)")
    add("--crop-depth", type=number(float, -1, 1), metavar="D", help="keep what is nearer: -1 near … 1 far")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.set_defaults(command=_mesh)


def _reconstruct(options: argparse.Namespace) -> int:
    from gp3d_core.distributed import pick_device
    from gp3d_core.vq3d.reconstruction import read_picture, reconstruct
    from gp3d_core.vq3d.showing import to_picture
    from gp3d_core.vq3d.snapshot import find_tokenizer, load_tokenizer

    path = find_tokenizer(options.tokenizer)
    snapshot = load_tokenizer(path, pick_device(options.device))
    _check_folder(options.out)
    resolution = snapshot.config.training.resolution
    images = [read_picture(picture, resolution, options.fit) for picture in options.pictures]
    scenes = {
        stem: reconstruct(snapshot, image, picture.name)
        for stem, picture, image in zip(_stems(options.pictures), options.pictures, images, strict=True)
    }
    _write(scenes, options, [to_picture(image) for image in images])
    return 0


def _stems(pictures: list[Path]) -> list[str]:
    """A file name for every picture: its own without suffix, numbered where several share it."""
    stems: list[str] = []
    for picture in pictures:
        stem, k = picture.stem, 2
        while stem in stems:
            stem, k = f"{picture.stem}-{k}", k + 1
        stems.append(stem)
    return stems


def _check_folder(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out}: expected a folder, found a file")


def _write(scenes: dict[str, Scene], options: argparse.Namespace, inputs: list | None = None) -> None:
    """Scenes into the folder `--out` by their stems, and a sheet of them all; their paths to stdout."""
    from gp3d_core.pictures import save_picture
    from gp3d_core.vq3d.scenefile import save_scene
    from gp3d_core.vq3d.showing import columns

    options.out.mkdir(parents=True, exist_ok=True)
    for stem, scene in scenes.items():
        path = options.out / f"{stem}.safetensors"
        save_scene(scene, path)
        print(path)
    picture = options.out / "scenes.png"
    save_picture(columns(list(scenes.values()), inputs, resolution=options.resolution), picture)
    print(picture)


def _sample(options: argparse.Namespace) -> int:
    from gp3d_core.distributed import pick_device
    from gp3d_core.generation import parse_seeds
    from gp3d_core.vq3d.prior import Sampling
    from gp3d_core.vq3d.priorfile import load_prior
    from gp3d_core.vq3d.reconstruction import scenes_of_codes

    seeds = parse_seeds(options.seeds)
    sampling = Sampling(options.temperature, options.top_k, options.top_p, options.cfg)
    prior = load_prior(options.prior, options.tokenizer, pick_device(options.device))
    _check_folder(options.out)
    label = prior.label_of(options.query)
    name = prior.classes[label]["name"] if label < len(prior.classes) else "any"
    codes = prior.sample(options.query, seeds, sampling)
    made = scenes_of_codes(prior.tokenizer, codes, [f"{name}, seed {seed}" for seed in seeds])
    plain = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    _write({f"{plain}-{seed:04d}": scene for seed, scene in zip(seeds, made, strict=True)}, options)
    return 0


def _load(path: Path, options: argparse.Namespace) -> Scene:
    from gp3d_core.distributed import pick_device
    from gp3d_core.vq3d.scenefile import load_scene

    return load_scene(path, pick_device(options.device))


def _orbit(options: argparse.Namespace) -> int:
    if options.out.is_dir():
        raise UsageError(f"--out {options.out}: expected a name in .gif, .mp4 or .png, found a folder")
    scene = _load(options.scene, options)
    from PIL import Image

    from gp3d_core.filming import save_film
    from gp3d_core.pictures import save_picture
    from gp3d_core.vq3d.showing import beside, orbit_frames

    if options.out.suffix.lower() == ".png":
        options.out.parent.mkdir(parents=True, exist_ok=True)
        turned = beside(scene, options.yaw, options.pitch, dolly=options.dolly, resolution=options.resolution)
        save_picture(Image.fromarray(turned), options.out)
    else:
        frames = orbit_frames(
            scene,
            yaw=options.yaw,
            pitch=options.pitch,
            count=options.frames,
            resolution=options.resolution,
        )
        save_film(frames, options.out)
    print(options.out)
    return 0


def _choice(options: argparse.Namespace) -> Choice:
    from gp3d_core.vq3d.editing import WHOLE, Choice

    given = [name for name in ("mask", "region", "box") if getattr(options, name) is not None]
    if len(given) > 1:
        raise UsageError(f"--{given[0]} and --{given[1]} both say which thing is meant; give one of them")
    return Choice(options.mask, options.box, options.region or WHOLE, options.reach)


def _motion(options: argparse.Namespace) -> Motion:
    from gp3d_core.vq3d.editing import Motion

    return Motion(options.scale, options.yaw, options.shift)


def _keep(scene: Scene, before: list[Scene], options: argparse.Namespace) -> int:
    """Writes the new scene, and beside it a picture of it after those it was made of."""
    from gp3d_core.pictures import save_picture
    from gp3d_core.vq3d.scenefile import save_scene
    from gp3d_core.vq3d.showing import columns

    if options.out.suffix != ".safetensors":
        raise UsageError(f"--out expects a name in .safetensors, found {options.out}")
    save_scene(scene, options.out)
    save_picture(columns([*before, scene], resolution=options.resolution), options.out.with_suffix(".png"))
    print(options.out)
    print(options.out.with_suffix(".png"))
    return 0


def _insert(options: argparse.Namespace) -> int:
    from gp3d_core.vq3d.editing import choose_region, insert

    scene, other = _load(options.scene, options), _load(options.other, options)
    region = choose_region(other, _choice(options))
    return _keep(insert(scene, other, region, _motion(options)), [scene, other], options)


def _remove(options: argparse.Namespace) -> int:
    from gp3d_core.vq3d.editing import choose_region, remove

    scene = _load(options.scene, options)
    return _keep(remove(scene, choose_region(scene, _choice(options))), [scene], options)


def _move(options: argparse.Namespace) -> int:
    from gp3d_core.vq3d.editing import choose_region, move

    scene = _load(options.scene, options)
    region = choose_region(scene, _choice(options))
    return _keep(move(scene, region, _motion(options)), [scene], options)


def _interpolate(options: argparse.Namespace) -> int:
    scene, other = _load(options.scene, options), _load(options.other, options)
    from gp3d_core.filming import save_film
    from gp3d_core.pictures import save_picture, sheet
    from gp3d_core.vq3d.editing import along, blend
    from gp3d_core.vq3d.showing import look, still_frames

    if options.out.suffix == ".safetensors":
        return _keep(blend(scene, other, options.at, options.kind), [scene, other], options)
    if options.out.suffix.lower() == ".png":
        steps = along(scene, other, options.frames or 7, options.kind)
        seen = [look(step, resolution=options.resolution) for step in steps]
        rows = [("from A to B", [c for c, _ in seen]), ("disparity", [d for _, d in seen])]
        options.out.parent.mkdir(parents=True, exist_ok=True)
        save_picture(sheet(rows, tile=options.resolution), options.out)
    else:
        steps = along(scene, other, options.frames or 32, options.kind)
        save_film(still_frames(steps, resolution=options.resolution), options.out)
    print("quantised codes promise no meaningful way between two scenes", file=sys.stderr)
    print(options.out)
    return 0


def _mesh(options: argparse.Namespace) -> int:
    from gp3d_core.generation import parse_level
    from gp3d_core.meshmaking import RawLevel
    from gp3d_core.vq3d.scenemesh import SceneMeshOptions, write_scene_mesh

    suffix = options.out.suffix.lower().removeprefix(".")
    if suffix not in _FORMATS:
        raise UsageError(f"--out expects a name in .{', .'.join(_FORMATS)}, found {options.out}")
    level = parse_level(options.level)
    if isinstance(level, RawLevel):
        raise UsageError(f"--level expects auto or a density above 0, found {options.level!r}")
    chosen = SceneMeshOptions(
        grid=options.grid,
        level=level,
        faces=options.faces or None,
        color=options.color,
        texture_size=options.texture_size,
        largest=options.keep or None,
        crop_depth=options.crop_depth,
    )
    for path in write_scene_mesh(
        _load(options.scene, options), options.out.with_suffix(""), [suffix], chosen
    ):
        print(path)
    return 0
