"""Scenes, films, sheets and meshes as files. Which names fit, and what is never replaced, stands in `outputs`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from gp3d_core.generation.video import save_film
from gp3d_core.hashing import digest
from gp3d_core.meshing.files.writing import save_mesh
from gp3d_core.meshing.mesh import Mesh
from gp3d_core.meshing.options import SceneMeshOptions
from gp3d_core.signals import Progress, counted, no_progress
from gp3d_core.visualization import save_picture, sheet
from gp3d_core.vq3d.files.prior_file import PriorSnapshot
from gp3d_core.vq3d.models.prior import Sampling
from gp3d_core.vq3d.scenes.editing import Blend, along, blend, read_mask
from gp3d_core.vq3d.scenes.figures import (
    columns,
    orbit_frames,
    render_pair,
    side_by_side,
    still_frames,
    to_picture,
)
from gp3d_core.vq3d.scenes.mesh import mesh_of, recipe_of
from gp3d_core.vq3d.scenes.outputs import (
    SHEET,
    check_folder,
    check_mesh,
    check_pictures,
    check_scene,
    is_scene,
    is_still,
    sample_stem,
    scene_file,
    view_beside,
)
from gp3d_core.vq3d.scenes.reconstruction import Reconstruction, sample_scenes
from gp3d_core.vq3d.scenes.scenefile import Scene, save_scene

_STEPS = 7  # of a picture from one scene to another
_FRAMES = 32


def write_scenes(
    scenes: Mapping[str, Scene],
    out: Path,
    *,
    heads: Sequence[Sequence[str]],
    inputs: Sequence[Tensor] | None = None,
    resolution: int | None = None,
    progress: Progress = no_progress,
) -> Iterator[Path]:
    """Yields the files of `scenes` in the folder `out`, by their stems, as they are written, and then a sheet of all.

    heads: lines of text above each column of the sheet; inputs: the images [3,R,R] in [-1, 1] that they were made of.
    `resolution` is that of a view. `progress` hears of the stage views. Raises OutputError before anything is written.
    """
    check_folder(out, scenes, ())
    for stem, scene in scenes.items():
        save_scene(scene, scene_file(out, stem))
        yield scene_file(out, stem)
    shown = None if inputs is None else [to_picture(image) for image in inputs]
    drawn = columns(list(scenes.values()), shown, heads=heads, resolution=resolution, progress=progress)
    save_picture(drawn, out / SHEET)
    yield out / SHEET


def write_reconstructions(
    made: Mapping[str, Reconstruction],
    out: Path,
    *,
    resolution: int | None = None,
    progress: Progress = no_progress,
) -> Iterator[Path]:
    """Yields the files of the scenes of pictures, by their stems, as `write_scenes` does; pictures are in the sheet."""
    scenes = {stem: one.scene for stem, one in made.items()}
    heads, inputs = [[stem] for stem in made], [one.image for one in made.values()]
    yield from write_scenes(scenes, out, heads=heads, inputs=inputs, resolution=resolution, progress=progress)


def write_samples(
    prior: PriorSnapshot,
    class_name: str | None,
    seeds: Sequence[int],
    sampling: Sampling,
    out: Path,
    *,
    resolution: int | None = None,
    progress: Progress = no_progress,
) -> Iterator[Path]:
    """Yields the files of new scenes, called <class>-<seed>, as `write_scenes` does; see `sample_scenes`.

    `progress` hears of the stages codes, scenes and views. Raises OutputError if one would replace the model.
    """
    name = prior.name_of(class_name)
    stems = [sample_stem(name, seed) for seed in seeds]
    check_folder(out, stems, [prior.path, prior.tokenizer.path])
    scenes = dict(zip(stems, sample_scenes(prior, class_name, seeds, sampling, progress), strict=True))
    heads = [[name, f"seed {seed}"] for seed in seeds]
    yield from write_scenes(scenes, out, heads=heads, resolution=resolution, progress=progress)


def write_orbit(
    scene: Scene,
    out: Path,
    *,
    yaw: float | None = None,
    pitch: float | None = None,
    dolly: float = 1.0,
    frames: int = _FRAMES,
    resolution: int | None = None,
    progress: Progress = no_progress,
) -> None:
    """Writes a film, .gif or .mp4, from `frames` cameras in front of `scene`, or one view of it, .png.

    Colour stands beside disparity. Films swing by `yaw` degrees to either side (None: 15) and by `pitch` up and down
    (None: 5). One view is turned by these (None: 0), from `dolly` times the distance. `progress` hears of the stage
    frames. Raises OutputError for another suffix.
    """
    check_pictures(out, ())
    still = is_still(out)
    yaw = (0.0 if still else 15.0) if yaw is None else yaw
    pitch = (0.0 if still else 5.0) if pitch is None else pitch
    if still:
        out.parent.mkdir(parents=True, exist_ok=True)
        turned = side_by_side(scene, yaw, pitch, dolly=dolly, resolution=resolution)
        save_picture(Image.fromarray(turned), out)
    else:
        save_film(
            orbit_frames(scene, yaw=yaw, pitch=pitch, count=frames, resolution=resolution, progress=progress),
            out,
        )


def write_scene_mesh(
    scene: Scene,
    out: Path,
    options: SceneMeshOptions,
    progress: Progress = no_progress,
    mask: Path | None = None,
) -> tuple[Path, Mesh, dict[str, Any]]:
    """The file that the mesh of `scene` was written to, with its recipe inside; mesh and facts; see `mesh.mesh_of`.

    `mask` is a picture of the subject as `editing.read_mask` reads it. Raises OutputError for a name that fits no
    format, or where an OBJ's parts would replace other files; RegionError for a mask that cannot be used.
    """
    check_mesh(out, ())
    subject = None if mask is None else read_mask(mask, scene.resolution)
    mesh, facts = mesh_of(scene, options, progress, subject)
    if mask is not None:
        facts["mask_sha256"] = digest(mask)
    return save_scene_mesh(mesh, recipe_of(scene, options, facts), out), mesh, facts


def save_scene_mesh(mesh: Mesh, recipe: Mapping[str, Any], out: Path) -> Path:
    """The file that the `mesh` of a scene was written to, with its `recipe` inside. Raises as `write_scene_mesh`."""
    out = check_mesh(out, ())
    out.parent.mkdir(parents=True, exist_ok=True)
    save_mesh(mesh, out, recipe)
    return out


def write_edited(
    scenes: Sequence[Scene],
    out: Path,
    *,
    heads: Sequence[Sequence[str]],
    resolution: int | None = None,
    progress: Progress = no_progress,
) -> list[Path]:
    """The files written: the last of the `scenes`, and a picture of it beside those that it was made of.

    `heads` are lines of text above each column. `progress` hears of the stage views.
    """
    check_scene(out, ())
    save_scene(scenes[-1], out)
    drawn = columns(scenes, heads=heads, resolution=resolution, progress=progress)
    save_picture(drawn, view_beside(out))
    return [out, view_beside(out)]


def write_interpolation(
    scene: Scene,
    other: Scene,
    out: Path,
    *,
    kind: Blend = "planes",
    frames: int | None = None,
    share: float = 0.5,
    resolution: int | None = None,
    progress: Progress = no_progress,
) -> list[Path]:
    """The files written: what lies between two scenes, as a film, a picture of some steps, or one scene.

    .gif and .mp4 have `frames` (None: 32), .png has as many steps (None: 7); .safetensors is the scene at `share` of
    the way, with a picture beside it. `kind` as in `editing.blend`. `progress` hears of the stage frames, or views.
    """
    if is_scene(out):
        made = blend(scene, other, share, kind)
        heads = [("A", scene.source), ("B", other.source), (f"{share:g} of the way",)]
        return write_edited([scene, other, made], out, heads=heads, resolution=resolution, progress=progress)
    check_pictures(out, ())
    if not is_still(out):
        steps = along(scene, other, frames or _FRAMES, kind)
        save_film(still_frames(steps, resolution=resolution, progress=progress), out)
        return [out]
    steps = along(scene, other, frames or _STEPS, kind)
    seen = [render_pair(step, resolution=resolution) for step in counted(steps, "views", progress)]
    rows = [("from A to B", [colour for colour, _ in seen]), ("disparity", [depth for _, depth in seen])]
    between = [(f"{k / (len(steps) - 1):.2f}",) for k in range(1, len(steps) - 1)]
    named = [("A", scene.source), *between, ("B", other.source)]
    out.parent.mkdir(parents=True, exist_ok=True)
    save_picture(sheet(rows, tile=resolution or scene.resolution, heads=named), out)
    return [out]
