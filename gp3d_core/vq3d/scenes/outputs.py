"""Where scenes and what is made of them go: names of files, and what none of them may replace. Quick, without torch."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from gp3d_core.atomic import check_writable
from gp3d_core.errors import GP3DError
from gp3d_core.generation.objects import RequestError, check_mesh_file

SHEET = "scenes.png"
_FILMS = (".gif", ".mp4")


class OutputError(GP3DError):
    """A file that cannot be written under its name; the message says what was expected."""


def picture_stems(pictures: Sequence[Path]) -> list[str]:
    """A file name without suffix for the scene of each picture: the picture's own, numbered where several share it.

    Raises OutputError for a folder among the pictures.
    """
    stems: list[str] = []
    for picture in pictures:
        if picture.is_dir():
            raise OutputError(f"expected picture files, found the folder {picture}; e.g. {picture}/*.png")
        stem, k = picture.stem, 2
        while stem in stems:
            stem, k = f"{picture.stem}-{k}", k + 1
        stems.append(stem)
    return stems


def sample_stem(name: str, seed: int) -> str:
    """The file name without suffix of the scene that a `seed` gives of a class called `name`."""
    plain = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    return f"{plain}-{seed:04d}"


def scene_file(folder: Path, stem: str) -> Path:
    """The file of a scene."""
    return folder / f"{stem}.safetensors"


def check_folder(out: Path, stems: Iterable[str], inputs: Sequence[Path]) -> None:
    """Raises OutputError unless scenes called `stems`, and their sheet, can be written to the folder `out`."""
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out}: expected a folder, found a file")
    check_writable(out)
    check_spared([out / SHEET, *(scene_file(out, stem) for stem in stems)], inputs)


def check_spared(outputs: Iterable[Path], inputs: Sequence[Path]) -> None:
    """Raises OutputError if a file that is to be written is also one of the `inputs`."""
    read = {path.resolve() for path in inputs}
    for path in outputs:
        if path.resolve() in read:
            raise OutputError(f"the result would replace {path}, which is an input; give another name")


def view_beside(scene: Path) -> Path:
    """The picture of a scene, beside its file; named so that it is nobody's texture and no view that was asked for."""
    return scene.with_suffix(".view.png")


def check_scene(out: Path, inputs: Sequence[Path]) -> None:
    """Raises OutputError unless `out` can become the file of a scene, with a picture beside it."""
    if not is_scene(out):
        raise OutputError(f"expected a name in .safetensors for a scene, found {out}")
    check_spared([out, view_beside(out)], inputs)
    check_writable(out.parent)


def is_scene(out: Path) -> bool:
    """Whether a file of this name holds a scene."""
    return out.suffix == ".safetensors"


def is_still(out: Path) -> bool:
    """Whether a file of this name is one picture, and no film."""
    return out.suffix.lower() == ".png"


def check_pictures(out: Path, inputs: Sequence[Path]) -> None:
    """Raises OutputError unless `out` can become a film or a picture."""
    if out.is_dir():
        raise OutputError(f"{out}: expected a name in .gif, .mp4 or .png, found a folder")
    if not is_still(out) and out.suffix.lower() not in _FILMS:
        raise OutputError(f"expected a name in .gif or .mp4 for a film, or in .png, found {out}")
    check_spared([out], inputs)
    check_writable(out.parent)


def check_mesh(out: Path, inputs: Sequence[Path]) -> Path:
    """The file that a mesh called `out` becomes, its suffix in small letters. Raises OutputError if it cannot.

    An OBJ file comes with a texture and its material beside it, which must not replace other files.
    """
    out = out.with_suffix(out.suffix.lower())
    parts = [out.with_suffix(".png"), out.with_suffix(".mtl")] if out.suffix == ".obj" else []
    check_spared([out, *parts], inputs)
    try:
        check_mesh_file(out)
    except RequestError as error:
        raise OutputError(str(error)) from error
    check_writable(out.parent)
    return out
