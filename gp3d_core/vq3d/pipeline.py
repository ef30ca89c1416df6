"""Scenes in three lines of Python: a class and a seed, or a picture; then views, films and meshes.

    from gp3d_core import ScenePipeline

    pipeline = ScenePipeline.from_pretrained()
    pipeline.sample("school bus", seed=0).orbit("bus.gif")
    pipeline.reconstruct("photo.jpg").mesh(grid=128).save("photo.glb")

The same model, class, seed and options give what `gp3d vq3d` writes, to the bit.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict, Unpack

import torch
from numpy.typing import NDArray
from PIL import Image

from gp3d_core.datasets.decoding import upright_rgb
from gp3d_core.distributed import pick_device
from gp3d_core.errors import renaming
from gp3d_core.generation.objects import whole_seed
from gp3d_core.generation.pipeline import chosen_options, size_of
from gp3d_core.meshing.level import Level
from gp3d_core.meshing.mesh import Mesh
from gp3d_core.meshing.options import Auto, Coloring, Compression, Real, SceneMeshOptions
from gp3d_core.preparation.framing import Fit
from gp3d_core.pretrained import vq3d_prior
from gp3d_core.signals import Progress, no_progress
from gp3d_core.snapshots.metadata import kind_of
from gp3d_core.vq3d.config import SamplingError
from gp3d_core.vq3d.files.metadata import PRIOR_FORMAT, find_prior
from gp3d_core.vq3d.files.prior_file import PriorSnapshot, load_prior
from gp3d_core.vq3d.files.tokenizer_file import TokenizerSnapshot, load_tokenizer
from gp3d_core.vq3d.models.prior import Sampling
from gp3d_core.vq3d.scenes.export import save_scene_mesh, write_orbit
from gp3d_core.vq3d.scenes.figures import to_picture
from gp3d_core.vq3d.scenes.fusion import fuse
from gp3d_core.vq3d.scenes.mesh import mesh_of, recipe_of
from gp3d_core.vq3d.scenes.outputs import OutputError, is_scene
from gp3d_core.vq3d.scenes.reconstruction import open_picture, reconstruct_picture, sample_scenes
from gp3d_core.vq3d.scenes.scenefile import Scene, load_scene, save_scene


class SceneMeshChoices(TypedDict, total=False):
    """What `mesh` takes, all of it optional; meaning, ranges and defaults stand in SceneMeshOptions.

    level: a density, or "auto".
    """

    grid: int
    level: Level | float | str
    faces: int | None
    color: Coloring
    texture_size: int | Auto
    components: int | Auto | None
    crop_depth: float | Auto | None
    compress: Compression
    print_height: float | Real
    max_bytes: int


class ScenePipeline:
    """A model that makes scenes of pictures and, if it has a code prior, of classes.

    Example: `ScenePipeline.from_pretrained().sample("school bus").view(yaw=15).save("bus.png")`.
    """

    def __init__(self, tokenizer: TokenizerSnapshot, prior: PriorSnapshot | None = None) -> None:
        """For models that are loaded already; else see `from_pretrained`."""
        self.tokenizer, self.prior = tokenizer, prior

    def __repr__(self) -> str:
        """Which model, in a line: notebooks show it."""
        if self.prior is None:
            return f"ScenePipeline({self.tokenizer.path}, no code prior)"
        return f"ScenePipeline({self.prior.path}, {len(self.classes)} classes)"

    @classmethod
    def from_pretrained(
        cls, model: str | Path | None = None, *, tokenizer: str | Path | None = None, device: str = "auto"
    ) -> ScenePipeline:
        """The pipeline of the model that comes along, or of `model`: a code prior or a tokenizer, file or run folder.

        A prior wants its `tokenizer`; None is the copy beside it. `device` is auto, cpu or cuda. Raises SnapshotError,
        RunError or PretrainedError for what is no such model.
        """
        file, where = vq3d_prior() if model is None else find_prior(Path(model)), pick_device(device)
        if kind_of(file) != PRIOR_FORMAT:
            return cls(load_tokenizer(file, where))
        prior = load_prior(file, None if tokenizer is None else Path(tokenizer), where)
        return cls(prior.tokenizer, prior)

    @property
    def classes(self) -> list[str]:
        """Names of the classes that can be sampled; none without a code prior, or for one without classes."""
        return [] if self.prior is None else [str(record["name"]) for record in self.prior.classes]

    def sample(
        self,
        class_name: str | int | None = None,
        *,
        seed: int = 0,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        guidance: float = 1.0,
        progress: Progress = no_progress,
    ) -> GeneratedScene:
        """The scene that `seed` gives of a class, by name, ImageNet index or WordNet id; of any for None.

        Codes are drawn as in `Sampling`. `progress` hears of the stages codes and scenes. Raises UnknownClassError for
        a class that the prior does not know, RequestError for a seed below 0, SamplingError for what cannot be drawn.

        Example: `pipeline.sample("school bus", seed=3, top_p=0.9)`.
        """
        if self.prior is None:
            raise SamplingError(f"{self.tokenizer.path} is a tokenizer: scenes are sampled with a code prior")
        sampling = Sampling(temperature, top_k, top_p, guidance)
        name = None if class_name is None else str(class_name)
        return GeneratedScene(*sample_scenes(self.prior, name, [whole_seed(seed)], sampling, progress))

    def reconstruct(self, picture: str | Path | Image.Image, *, fit: Fit = "crop") -> GeneratedScene:
        """The scene of a `picture`, a file or an image of any size: of its middle square, or with letterbox of all.

        Raises PictureError for one that cannot be used, OSError for one that is not there.
        Example: `pipeline.reconstruct("photo.jpg").orbit("photo.gif")`.
        """
        return GeneratedScene(reconstruct_picture(self.tokenizer, *self._opened(picture), fit).scene)

    def fuse(
        self,
        pictures: Sequence[str | Path | Image.Image],
        *,
        yaws: Sequence[float] | None = None,
        elevation: float = 0.0,
        fit: Fit = "crop",
        progress: Progress = no_progress,
    ) -> GeneratedScene:
        """One scene of several `pictures` of one thing; `yaws` of their cameras, the first 0, None to find them.

        `elevation` is how many degrees all cameras look down. The scene shows each picture at least as well as that
        one's own scene does; pictures of which that cannot be are left out, and a warning names them. `progress` hears
        of the stage fusing.
        Raises as `reconstruct`, and FusionError for angles that cannot be theirs.
        Example: `pipeline.fuse(["front.jpg", "left.jpg"], yaws=[0, 30])`.
        """
        opened = [self._opened(picture) for picture in pictures]
        images, names = [image for image, _ in opened], [name for _, name in opened]
        fused = fuse(self.tokenizer, images, names, yaws, fit, elevation, progress)
        if fused.left_out:
            left = ", ".join(f"{names[k]} (yaw {fused.yaws[k]:g}°)" for k in fused.left_out)
            warnings.warn(f"left out: {left}; with them no scene shows all pictures well", stacklevel=2)
        return GeneratedScene(fused.scene)

    def _opened(self, picture: str | Path | Image.Image) -> tuple[Image.Image, str]:
        """The picture in RGB, and its name."""
        if isinstance(picture, Image.Image):
            return upright_rgb(picture), "picture"
        return open_picture(Path(picture)), Path(picture).name


@dataclass(frozen=True, eq=False)
class GeneratedScene:
    """A scene that was sampled, reconstructed or loaded. `scene` is what `vq3d.scenes.editing` works on."""

    scene: Scene

    def __repr__(self) -> str:
        """Which scene, in a line: notebooks show it."""
        return f"GeneratedScene({self.scene.source}, {self.scene.resolution} px)"

    @classmethod
    def load(cls, path: str | Path, *, device: str = "auto") -> GeneratedScene:
        """The scene in the file at `path`. Raises SnapshotError for what is no scene."""
        return cls(load_scene(Path(path), pick_device(device)))

    def save(self, path: str | Path) -> Path:
        """The file written, .safetensors; it needs no model beside it. Raises OutputError for another suffix."""
        path = Path(path)
        if not is_scene(path):
            raise OutputError(f"expected a name in .safetensors for a scene, found {path}")
        save_scene(self.scene, path)
        return path

    def view(
        self, *, yaw: float = 0.0, pitch: float = 0.0, dolly: float = 1.0, resolution: int | None = None
    ) -> Image.Image:
        """The scene in colour, the camera turned about the subject by `yaw` and `pitch` degrees.

        `dolly` is a factor on its distance. None: `resolution` as trained.
        Example: `scene.view(yaw=-15, resolution=128).save("left.png")`.
        """
        seen = self.scene.view(yaw, pitch, dolly=dolly, resolution=resolution)
        return Image.fromarray(to_picture(seen.images[0]))

    def orbit(
        self,
        path: str | Path,
        *,
        yaw: float | None = None,
        pitch: float | None = None,
        frames: int = 32,
        resolution: int | None = None,
        progress: Progress = no_progress,
    ) -> Path:
        """The film at `path`, .gif or .mp4, or one view, .png: colour beside disparity, see `export.write_orbit`.

        Raises OutputError for another suffix. Example: `scene.orbit("scene.gif", yaw=10, frames=16)`.
        """
        path = Path(path)
        with renaming({"out": "path"}):
            write_orbit(
                self.scene,
                path,
                yaw=yaw,
                pitch=pitch,
                frames=frames,
                resolution=resolution,
                progress=progress,
            )
        return path

    def mesh(self, *, progress: Progress = no_progress, **choices: Unpack[SceneMeshChoices]) -> SceneMesh:
        """The mesh of what the scene's camera sees; `choices` as in SceneMeshOptions. `progress` as in `mesh.mesh_of`.

        Raises OptionError for a choice out of range, TypeError for one that there is not, EmptyMeshError when there is
        no surface at the level. Example: `scene.mesh(grid=192, crop_depth=None)`.
        """
        options = chosen_options(SceneMeshOptions, choices)
        with torch.no_grad():
            mesh, facts = mesh_of(self.scene, options, progress)
        return SceneMesh(mesh, recipe_of(self.scene, options, facts))


@dataclass(frozen=True, eq=False)
class SceneMesh:
    """The mesh of a scene, and the recipe that tells what made it."""

    mesh: Mesh
    recipe: dict[str, Any]

    def __repr__(self) -> str:
        """Which mesh, in a line: notebooks show it."""
        return f"SceneMesh({self.recipe.get('scene', 'scene')}, {size_of(self.mesh)})"

    @property
    def vertices(self) -> NDArray[Any]:
        """Positions float32 [V,3] in scene units, y up, the camera at (0, 0, 1)."""
        return self.mesh.vertices

    @property
    def faces(self) -> NDArray[Any]:
        """Vertices int32 [F,3] of every triangle, counter-clockwise from outside."""
        return self.mesh.faces

    def save(self, path: str | Path) -> Path:
        """The file written, .obj, .glb, .ply, .npz, .stl, .3mf or .usdz, the same as that of `gp3d vq3d mesh`.

        Raises OutputError for another suffix, or where an OBJ's parts would replace other files.
        """
        return save_scene_mesh(self.mesh, self.recipe, Path(path))
