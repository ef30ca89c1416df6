"""Models staged again, as the data set says that they were rendered, and made sure to be the same files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from synthetic.atomic import content_of
from synthetic.checks.rays import Hits, RaySurface
from synthetic.dataset import ViewRecord
from synthetic.dataset_index import ManifestEntry
from synthetic.layouts.shapenet import BrokenModelError, LibraryError, Model
from synthetic.staging.sampling import SurfaceColors
from synthetic.staging.stage import stage_model
from synthetic.staging.surface import Floats, Surface
from synthetic.staging.treatment import ModelLimits, Treatment
from synthetic.surroundings.draws import ground_color
from synthetic.surroundings.ground import with_ground
from synthetic.surroundings.settings import Surroundings
from synthetic.workers.scratch import scratch_folder

# What was rendered is read, whatever limits that run was given.
_LIMITS = ModelLimits(max_faces=100_000_000, max_megabytes=16_384, max_texture_side=65_536)
_SAME_PLACE = 1e-6  # world units


class UncheckedModelError(ValueError):
    """A model whose views cannot be compared; the message is the reason."""


@dataclass(frozen=True)
class Truth:
    """A staged model where it stood for its views, with its ground (part -1), and rays and colours of both.

    `moved` says that the manifest has it stand otherwise than its library does (--front, --up, --normalise).
    """

    surface: Surface
    moved: bool = False

    @cached_property
    def colors(self) -> SurfaceColors:
        """Colours of places on the surface."""
        return SurfaceColors(self.surface)

    @cached_property
    def rays(self) -> RaySurface:
        """The surface, to cast rays at."""
        return RaySurface.of(self.surface, self.colors)

    def is_ground(self, hits: Hits) -> npt.NDArray[np.bool_]:
        """[...] rays that hit the ground and nothing of the model."""
        return np.asarray((hits.triangle >= 0) & (self.surface.part[hits.triangle] < 0))

    @property
    def model_rays(self) -> RaySurface:
        """The same without its ground."""
        model = self.surface.subset(self.surface.part >= 0)
        return self.rays if model is self.surface else RaySurface.of(model)


@dataclass(frozen=True)
class Rendered:
    """A data set's own word on what it was made of: views by name, models by key, what became of their parts."""

    views: dict[str, ViewRecord]
    sources: dict[str, ManifestEntry]
    treatment: Treatment
    samples: int  # a pixel
    passes: tuple[str, ...]  # that every view must have
    all_files: bool  # whether the manifest names every file that staging reads today
    seed: int = 0
    surroundings: Surroundings = field(default_factory=Surroundings)

    @classmethod
    def read(cls, folder: Path) -> Rendered:
        """What a folder says. Raises LibraryError where it is no data set."""
        try:
            views = json.loads(content_of(folder / "cameras.json"))["views"]
            sources = json.loads(content_of(folder / "manifest.json"))["models"]
            index = json.loads(content_of(folder / "dataset.json"))
            settings = index["generator"]["settings"]
            treatment = Treatment(**settings.get("treatment", {}))
            samples = int(settings["samples"])
            seed, passes = int(settings.get("seed", 0)), tuple(settings.get("passes", ()))
            surroundings = Surroundings.from_json(settings.get("surroundings", {}))
        except (OSError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise LibraryError(
                f"{folder}: is no dataset with dataset.json, cameras.json and manifest.json ({error})"
            ) from None
        if settings.get("stage", "none") != "none":
            raise LibraryError(
                f"{folder}: was rendered with --stage {settings['stage']}; only models that stand alone can be checked"
            )
        all_files = "cutouts" in settings.get("treatment", {})
        return cls(views, sources, treatment, samples, passes, all_files, seed, surroundings)


@contextmanager
def staged_truth(rendered: Rendered, key: str, models: Mapping[str, Model]) -> Iterator[Truth]:
    """A model staged again for as long as the `with` lasts. Raises UncheckedModelError."""
    model, source = models.get(key), rendered.sources.get(key)
    if model is None or source is None:
        raise UncheckedModelError("is not in this library")
    with scratch_folder("check") as folder:
        workspace = folder
        try:
            staged = stage_model(
                model.path, model.folder, workspace, _LIMITS, rendered.treatment, model.placement, np.inf
            )
        except BrokenModelError as error:
            raise UncheckedModelError(str(error)) from None
        _compare_files(staged.sha256, source["sha256"], rendered.all_files)
        move = np.array(source["to_world"]) @ np.linalg.inv(staged.to_world)
        moved = not np.allclose(move, np.eye(4), atol=_SAME_PLACE)
        surface = _moved(staged.surface, move) if moved else staged.surface
        ground = rendered.surroundings.ground
        if ground != "none":
            surface = with_ground(surface, ground_color(ground, rendered.seed, key))
        yield Truth(surface, moved)


def _compare_files(now: Mapping[str, str], then: Mapping[str, str], all_files: bool) -> None:
    """Raises UncheckedModelError where files of a model are not those of the manifest."""
    names = now.keys() | then.keys() if all_files else now.keys() & then.keys()
    changed = sorted(name for name in names if now.get(name) != then.get(name))
    if changed:
        raise UncheckedModelError(f"has changed since it was rendered ({', '.join(changed[:3])})")
    if not names:
        raise UncheckedModelError("was rendered from other files")


def _moved(surface: Surface, move: Floats) -> Surface:
    normals = surface.normals
    if normals is not None:
        turn = move[:3, :3] / np.cbrt(np.linalg.det(move[:3, :3]))
        normals = (normals @ turn.T).astype(np.float32)
    positions = surface.positions @ move[:3, :3].T + move[:3, 3]
    return replace(surface, positions=positions, normals=normals)
