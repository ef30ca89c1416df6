"""The commands `gp3d vq3d …` that make scenes and show them; those that change scenes stand in `cli_edit`."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gp3d_core.cli.arguments import UsageError, number

if TYPE_CHECKING:
    import numpy as np
    from tqdm import tqdm

    from gp3d_core.signals import Progress
    from gp3d_core.vq3d.scenes.scenefile import Scene

_FORMATS = ("obj", "glb", "ply", "npz")


def add_scene_verbs(verbs: argparse._SubParsersAction) -> None:
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


def _add_reconstruct(verbs: argparse._SubParsersAction) -> None:
    parser = verbs.add_parser("reconstruct", help="pictures to scenes, each in one pass")
    add = parser.add_argument
    add("tokenizer", type=Path, help="tokenizer, the folder of its run (the newest), or the word box")
    add("pictures", type=Path, nargs="+", metavar="IMG", help="photographs of any size")
    add("--out", type=Path, default=Path("scenes"), help="folder of scenes and a sheet (default scenes)")
    add("--fit", choices=("crop", "letterbox"), default="crop", help="square in the middle, or all on white")
    add_views(parser)
    parser.set_defaults(command=_reconstruct)


def _add_sample(verbs: argparse._SubParsersAction) -> None:
    parser = verbs.add_parser("sample", help="new scenes of a class")
    add = parser.add_argument
    add("prior", type=Path, help="prior, the folder of its run (the newest), or the word box")
    add("--tokenizer", type=Path, help="its tokenizer (default: the copy in its folder)")
    add("--class", dest="query", metavar="NAME", help="name, ImageNet index or WordNet id (default: any)")
    add("--seeds", default="0", help="e.g. 0-3,9 (default 0)")
    add("--temperature", type=number(float, 0, 10), default=1.0, help="0 takes the likeliest (default 1)")
    add("--top-k", type=number(int, 0, 1e6), default=0, help="only the likeliest so many codes; 0 for all")
    add("--top-p", type=number(float, 1e-6, 1), default=1.0, help="only the likeliest up to this sum")
    add("--cfg", type=number(float, 0, 20), default=1.0, help="towards the class; 1 for none (default)")
    add("--out", type=Path, default=Path("scenes"), help="folder of scenes and a sheet (default scenes)")
    add_views(parser)
    parser.set_defaults(command=_sample)


def _add_orbit(verbs: argparse._SubParsersAction) -> None:
    parser = verbs.add_parser("orbit", help="a film of a scene, or one view of it, beside its disparity")
    add = parser.add_argument
    add("scene", type=Path, help="scene file")
    add("--out", type=Path, required=True, help="film in .gif or .mp4; .png for one view")
    add("--yaw", type=number(float, -80, 80), help="degrees to either side (default 15; of one view 0)")
    add("--pitch", type=number(float, -60, 60), help="degrees up and down (default 5; of one view 0)")
    add("--dolly", type=number(float, 0.2, 5), default=1.0, help=".png: factor on the distance (default 1)")
    add("--frames", type=number(int, 2, 10_000), default=32, help="of a film (default 32)")
    add_views(parser)
    parser.set_defaults(command=_orbit)


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
    pieces, depth = _or_word(number(int, 0, 1e6), "auto"), _or_word(number(float, -1, 1), "auto", "none")
    add(
        "--keep",
        type=pieces,
        default="auto",
        metavar="N",
        help="largest pieces, 0 for all (default: no specks)",
    )
    add(
        "--crop-depth",
        type=depth,
        default="auto",
        metavar="D",
        help="-1 near … 1 far, none (default: no backdrop)",
    )
    add("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.set_defaults(command=_mesh)


def _reconstruct(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    from gp3d_core.distributed import pick_device
    from gp3d_core.vq3d.files.tokenizer_file import find_tokenizer, load_tokenizer
    from gp3d_core.vq3d.scenes.figures import to_picture
    from gp3d_core.vq3d.scenes.reconstruction import read_picture, reconstruct

    path, stems = find_tokenizer(options.tokenizer), _stems(options.pictures)
    _check_pictures(options.pictures)
    _check_folder(options.out, stems, [path, *options.pictures])
    snapshot = load_tokenizer(path, pick_device(options.device))
    resolution = snapshot.config.training.resolution
    images = [read_picture(picture, resolution, options.fit) for picture in options.pictures]
    given = zip(options.pictures, images, strict=True)
    bar = tqdm(given, total=len(stems), desc="scenes", unit="scene", file=sys.stderr, disable=None)
    scenes = [reconstruct(snapshot, image, picture.name) for picture, image in bar]
    inputs = [to_picture(image) for image in images]
    _write(dict(zip(stems, scenes, strict=True)), options, [[stem] for stem in stems], inputs)
    return 0


def _check_pictures(pictures: Sequence[Path]) -> None:
    for picture in pictures:
        if picture.is_dir():
            raise UsageError(f"expected picture files, found the folder {picture}; e.g. {picture}/*.png")


def _stems(pictures: list[Path]) -> list[str]:
    """A file name for every picture: its own without suffix, numbered where several share it."""
    stems: list[str] = []
    for picture in pictures:
        stem, k = picture.stem, 2
        while stem in stems:
            stem, k = f"{picture.stem}-{k}", k + 1
        stems.append(stem)
    return stems


def _check_folder(out: Path, stems: Iterable[str], inputs: Sequence[Path]) -> None:
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out}: expected a folder, found a file")
    spare_inputs([_sheet(out), *(_scene_path(out, stem) for stem in stems)], inputs)


def spare_inputs(outputs: Iterable[Path], inputs: Sequence[Path]) -> None:
    """Raises UsageError if a file that is to be written is also one that is read."""
    read = {path.resolve() for path in inputs}
    for path in outputs:
        if path.resolve() in read:
            raise UsageError(f"--out would replace {path}, which is an input; give another name")


def _scene_path(out: Path, stem: str) -> Path:
    return out / f"{stem}.safetensors"


def _sheet(out: Path) -> Path:
    return out / "scenes.png"


def _write(
    scenes: dict[str, Scene],
    options: argparse.Namespace,
    heads: list[list[str]],
    inputs: list[np.ndarray] | None = None,
) -> None:
    """Scenes into the folder `--out` by their stems, and a sheet of them all; their paths to stdout."""
    from gp3d_core.visualization import save_picture
    from gp3d_core.vq3d.scenes.figures import columns
    from gp3d_core.vq3d.scenes.scenefile import save_scene

    options.out.mkdir(parents=True, exist_ok=True)
    for stem, scene in scenes.items():
        path = _scene_path(options.out, stem)
        save_scene(scene, path)
        print(path)
    drawn = columns(list(scenes.values()), inputs, heads=heads, resolution=options.resolution)
    save_picture(drawn, _sheet(options.out))
    print(_sheet(options.out))


def _sample(options: argparse.Namespace) -> int:
    from gp3d_core.cli.arguments import parse_seeds
    from gp3d_core.distributed import pick_device
    from gp3d_core.vq3d.files.prior_file import load_prior
    from gp3d_core.vq3d.models.prior import Sampling
    from gp3d_core.vq3d.scenes.reconstruction import scenes_of_codes

    seeds = parse_seeds(options.seeds)
    sampling = Sampling(options.temperature, options.top_k, options.top_p, options.cfg)
    prior = load_prior(options.prior, options.tokenizer, pick_device(options.device))
    label = prior.label_of(options.query)
    name = prior.classes[label]["name"] if label < len(prior.classes) else "any"
    plain = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    stems = [f"{plain}-{seed:04d}" for seed in seeds]
    _check_folder(options.out, stems, [prior.path, prior.tokenizer.path])
    codes = prior.sample(options.query, seeds, sampling)
    made = scenes_of_codes(prior.tokenizer, codes, [f"{name}, seed {seed}" for seed in seeds])
    _write(dict(zip(stems, made, strict=True)), options, [[name, f"seed {seed}"] for seed in seeds])
    return 0


def open_scene(path: Path, options: argparse.Namespace) -> Scene:
    """The scene at `path`, on the device that was asked for."""
    from gp3d_core.distributed import pick_device
    from gp3d_core.vq3d.scenes.scenefile import load_scene

    return load_scene(path, pick_device(options.device))


def _orbit(options: argparse.Namespace) -> int:
    if options.out.is_dir():
        raise UsageError(f"--out {options.out}: expected a name in .gif, .mp4 or .png, found a folder")
    spare_inputs([options.out], [options.scene])
    scene = open_scene(options.scene, options)
    from PIL import Image

    from gp3d_core.generation.video import save_film
    from gp3d_core.visualization import save_picture
    from gp3d_core.vq3d.scenes.figures import orbit_frames, side_by_side

    size, still = options.resolution, options.out.suffix.lower() == ".png"
    yaw = (0.0 if still else 15.0) if options.yaw is None else options.yaw
    pitch = (0.0 if still else 5.0) if options.pitch is None else options.pitch
    if still:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        turned = side_by_side(scene, yaw, pitch, dolly=options.dolly, resolution=size)
        save_picture(Image.fromarray(turned), options.out)
    else:
        frames = orbit_frames(scene, yaw=yaw, pitch=pitch, count=options.frames, resolution=size)
        save_film(frames, options.out)
    print(options.out)
    return 0


def _mesh(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    from gp3d_core.generation.sampling import parse_level
    from gp3d_core.meshing.mesh_io import save_mesh
    from gp3d_core.meshing.pipeline import RawLevel
    from gp3d_core.vq3d.scenes.mesh import SceneMeshOptions, mesh_of, recipe_of

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
        crop_depth=None if options.crop_depth == "none" else options.crop_depth,
    )
    out = options.out.with_suffix(f".{suffix}")
    _check_mesh(out, options)
    scene = open_scene(options.scene, options)
    with tqdm(unit="", file=sys.stderr, disable=None) as bar:
        mesh, facts = mesh_of(scene, chosen, _stages(bar))
    out.parent.mkdir(parents=True, exist_ok=True)
    save_mesh(mesh, out, recipe_of(scene, chosen, facts))
    sides = " × ".join(f"{side:.2f}" for side in mesh.vertices.max(axis=0) - mesh.vertices.min(axis=0))
    print(f"{len(mesh.faces)} faces, {sides} units", file=sys.stderr)
    print(out)
    return 0


def _or_word(read: Callable[[str], Any], *words: str) -> Callable[[str], Any]:
    """A reader of one of `words`, or of what `read` takes."""
    return lambda text: text if text in words else read(text)


def _check_mesh(out: Path, options: argparse.Namespace) -> None:
    """An OBJ file comes with a texture and its material beside it, which must not replace other files."""
    side_by_side = [out.with_suffix(".png"), out.with_suffix(".mtl")] if out.suffix == ".obj" else []
    spare_inputs([out, *side_by_side], [options.scene])
    strange = [path for path in side_by_side if path.exists() and not out.exists()]
    if strange:
        raise UsageError(f"{strange[0]} is there, and is no part of {out.name}; give another --out")


def _stages(bar: tqdm) -> Progress:
    """Progress of one stage after another on one bar."""
    current = ""

    def hear(stage: str, done: int, total: int) -> None:
        nonlocal current
        if stage != current:
            current = stage
            bar.reset(total)
            bar.set_description(stage)
        bar.n = done
        bar.refresh()

    return hear
