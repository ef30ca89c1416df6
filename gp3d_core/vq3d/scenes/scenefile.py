"""Scenes and their files: format gp3d-vq3d-scene, version 1, safetensors with facts as JSON in the header.

A scene file needs no model beside it: it holds the tri-planes of each of its parts, the small decoder that reads them,
and the camera. It names where it came from: the picture, and the tokenizer by its hash.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gp3d_core.config.schema import from_dict, to_dict
from gp3d_core.datasets.decoding import PictureError
from gp3d_core.rendering.volume import rays_at_a_time
from gp3d_core.snapshots.metadata import SnapshotError, read_header
from gp3d_core.snapshots.snapshot import fill_module, load_tensors, save_tensors
from gp3d_core.vq3d.config import CameraConfig, DecoderConfig, RenderConfig, Vq3dConfig, check_config
from gp3d_core.vq3d.files.metadata import SCENE_FORMAT
from gp3d_core.vq3d.models.field import FieldDecoder, SceneField
from gp3d_core.vq3d.rendering.views import Field, View, orbit, render
from gp3d_core.vq3d.scenes.composition import (
    Box,
    Fade,
    Keep,
    LiftedMask,
    Place,
    Region,
    Remove,
    Step,
    backdrop_share,
    together,
)
from gp3d_core.vq3d.scenes.input_views import MOST_ELEVATION, InputView

_MOST = 4096  # samples of a ray, and pixels a side of a picture, in a file
_OF_MASKS = ("reach", "tolerance", "edge")  # numbers of a lifted mask
_LARGEST = 1e9  # scene units and degrees in a file
_POINTS = 2**15  # of a view at a time on a CPU, so that what is made of them fits into its cache


@dataclass(frozen=True, eq=False)
class Part:
    """One field of a scene: planes [3,C,P,P], their decoder, and the steps that cut, move and fade it, in order.

    `codes` [N] where they are known; `tokenizer` is the hash of its file, `source` the picture's name, or the
    class and seed.
    """

    planes: Tensor
    decoder: FieldDecoder
    settings: DecoderConfig
    tokenizer: str
    source: str
    codes: Tensor | None = None
    steps: tuple[Step, ...] = ()

    def field(self) -> Field:
        """The part as a function of world points [1,N,3]."""
        field: Field = SceneField(self.planes[None], self.decoder)
        for step in self.steps:
            field = step(field)
        return field

    def after(self, *steps: Step) -> Part:
        """The part with further steps."""
        return replace(self, steps=(*self.steps, *steps))


@dataclass(frozen=True, eq=False)
class Scene:
    """Parts, the camera that the picture was taken with, how rays are sampled, and pixels a side of the picture.

    `pivot` is the depth on the optical axis that views turn about. `inputs` are the pictures that it was made of, of
    which there are none if it was sampled or changed.
    """

    parts: tuple[Part, ...]
    camera: CameraConfig
    render: RenderConfig
    resolution: int
    pivot: float
    inputs: tuple[InputView, ...] = ()

    @property
    def source(self) -> str:
        """Where the parts came from, in one line."""
        return " + ".join(dict.fromkeys(part.source for part in self.parts))

    def field(self) -> Field:
        """All parts as one function of world points [1,N,3]."""
        return together([part.field() for part in self.parts], [backdrop_share(p.steps) for p in self.parts])

    @torch.no_grad()
    def view(
        self,
        yaw: float = 0.0,
        pitch: float = 0.0,
        *,
        dolly: float = 1.0,
        elevation: float = 0.0,
        resolution: int | None = None,
    ) -> View:
        """The view after turning the camera about the pivot by `yaw` and `pitch` degrees; see `views.orbit`."""
        device = self.parts[0].planes.device
        angles = (yaw, pitch, self.pivot, dolly, elevation)
        numbers = (torch.tensor([float(x)], device=device) for x in angles)
        size = resolution or self.resolution
        chunk = rays_at_a_time(1)
        if device.type == "cpu":  # a power of two, too
            most = _POINTS // (self.render.steps + self.render.fine_steps)
            chunk = min(chunk, 1 << max(most.bit_length() - 1, 0))
        return render(self.field(), orbit(*numbers), self.camera, self.render, size, chunk=chunk)


def save_scene(scene: Scene, path: Path) -> None:
    """Writes `scene`, whole or not at all."""
    tensors: dict[str, Tensor] = {}
    parts: list[dict[str, Any]] = []
    for index, part in enumerate(scene.parts):
        tensors[f"{index}.planes"] = part.planes
        tensors |= {f"{index}.decoder.{key}": value for key, value in part.decoder.state_dict().items()}
        if part.codes is not None:
            tensors[f"{index}.codes"] = part.codes.to(torch.int32)
        steps = [_step_facts(step, f"{index}.{k}", tensors) for k, step in enumerate(part.steps)]
        about = {"settings": to_dict(part.settings), "tokenizer": part.tokenizer, "source": part.source}
        parts.append(about | {"steps": steps})
    facts: dict[str, Any] = {
        "parts": parts,
        "camera": to_dict(scene.camera),
        "render": to_dict(scene.render),
        "resolution": scene.resolution,
        "pivot": scene.pivot,
    }
    if scene.inputs:
        facts["inputs"] = [one.angles() for one in scene.inputs]
        tensors |= {f"input.{k}": one.to_bytes() for k, one in enumerate(scene.inputs)}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_tensors(path, SCENE_FORMAT, tensors, facts)


def load_scene(path: Path, device: torch.device | str = "cpu") -> Scene:
    """Reads a scene. Raises SnapshotError for a file that is missing, damaged, or of another format or version."""
    facts = read_header(path, SCENE_FORMAT)
    tensors = {name: tensor.to(device) for name, tensor in load_tensors(path).items()}
    try:
        parts = [_read_part(part, str(index), tensors, path) for index, part in enumerate(facts["parts"])]
        scene = Scene(
            tuple(parts),
            from_dict(facts["camera"], CameraConfig, "camera"),
            from_dict(facts["render"], RenderConfig, "render"),
            int(_number(facts, "resolution", 1, _MOST)),
            _number(facts, "pivot", 1 / _LARGEST),
            tuple(
                InputView.of_bytes(
                    tensors[f"input.{k}"],
                    _number(about, "yaw", -360, 360),
                    _number({"elevation": 0.0} | about, "elevation", -MOST_ELEVATION, MOST_ELEVATION),
                )
                for k, about in enumerate(facts.get("inputs", ()))
            ),
        )
        _check_rays(scene)
    except SnapshotError:
        raise
    except PictureError as error:
        raise SnapshotError(f"{path} holds an input picture that {error}; reconstruct it again") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SnapshotError(
            f"{path} was written by another version of gp3d ({error}); use that version, or reconstruct it again"
        ) from error
    if not scene.parts:
        raise SnapshotError(f"{path} is a scene without parts; reconstruct it again")
    return scene


def _read_part(facts: Mapping[str, Any], name: str, tensors: Mapping[str, Tensor], path: Path) -> Part:
    settings = from_dict(facts["settings"], DecoderConfig, "settings")
    planes, expected, prefix = tensors[f"{name}.planes"], (3, settings.plane_channels), f"{name}.decoder."
    if tuple(planes.shape[:2]) != expected or not _is_square(planes.shape[2:]):
        raise ValueError(f"planes of shape {list(planes.shape)}, expected {list(expected)} and a square")
    width = len(tensors[f"{prefix}layers.0.weight"])  # nothing is made that is larger than the file
    if settings.field_width != width:
        raise ValueError(f"a decoder of width {width}, expected {settings.field_width}")
    decoder = FieldDecoder(settings).to(planes.device)
    fill_module(
        decoder, {key.removeprefix(prefix): t for key, t in tensors.items() if key.startswith(prefix)}, path
    )
    return Part(
        planes.float(),
        decoder.eval().requires_grad_(False),
        settings,
        str(facts["tokenizer"]),
        str(facts["source"]),
        tensors.get(f"{name}.codes"),
        tuple(_read_step(step, f"{name}.{k}", tensors) for k, step in enumerate(facts["steps"])),
    )


def _step_facts(step: Step, name: str, tensors: dict[str, Tensor]) -> dict[str, Any]:
    """A step as JSON values; what a mask holds goes into `tensors`."""
    if isinstance(step, Place | Fade):
        return {"do": type(step).__name__.lower()} | asdict(step)
    facts: dict[str, Any] = {"do": type(step).__name__.lower()}
    region = step.region
    if isinstance(region, Box):
        return facts | {"region": "box"} | asdict(region)
    tensors |= {f"{name}.mask": region.mask, f"{name}.inverse": region.inverse}
    return facts | {"region": "mask"} | {name: getattr(region, name) for name in _OF_MASKS}


def _read_step(facts: Mapping[str, Any], name: str, tensors: Mapping[str, Tensor]) -> Step:
    kind = facts["do"]
    if kind == "place":
        scale, yaw = _number(facts, "scale", 1 / _LARGEST), _number(facts, "yaw")
        return Place(scale, yaw, _triple(facts, "shift"))
    if kind == "fade":
        return Fade(_number(facts, "share", 0, 1))
    if kind not in ("keep", "remove"):
        raise ValueError(f"unknown step {reprlib.repr(kind)}")
    region = _read_region(facts, name, tensors)
    return Keep(region) if kind == "keep" else Remove(region)


def _read_region(facts: Mapping[str, Any], name: str, tensors: Mapping[str, Tensor]) -> Region:
    if facts["region"] == "box":
        return Box(_triple(facts, "low"), _triple(facts, "high"))
    mask, inverse = tensors[f"{name}.mask"], tensors[f"{name}.inverse"]
    if not _is_square(mask.shape) or mask.shape != inverse.shape:
        raise ValueError(f"a mask of {list(mask.shape)} over a surface of {list(inverse.shape)}")
    facts = {"edge": LiftedMask.edge} | dict(facts)  # older files do not say
    return LiftedMask(
        mask.float(), inverse.float(), *(_number(facts, name, 1 / _LARGEST) for name in _OF_MASKS)
    )


def _is_square(shape: Sequence[int]) -> bool:
    return len(shape) == 2 and shape[0] == shape[1] > 0


def _check_rays(scene: Scene) -> None:
    """Raises ValueError for a camera or samples that nothing can be rendered with."""
    check_config(Vq3dConfig(preset="scene", camera=scene.camera, render=scene.render))
    if not math.isfinite(scene.camera.far):
        raise ValueError(f"camera.far expects a finite number, found {scene.camera.far}")
    if (steps := scene.render.steps + scene.render.fine_steps) > _MOST:
        raise ValueError(f"expected at most {_MOST} samples of a ray, found {steps}")


def _number(facts: Mapping[str, Any], name: str, low: float = -_LARGEST, high: float = _LARGEST) -> float:
    value = facts[name]
    if type(value) not in (int, float) or not low <= value <= high:
        raise ValueError(f"{name}: expected a number from {low:g} to {high:g}, found {reprlib.repr(value)}")
    return float(value)


def _triple(facts: Mapping[str, Any], name: str) -> tuple[float, ...]:
    values = facts[name]
    if not (isinstance(values, list) and len(values) == 3):
        raise ValueError(f"{name}: expected three numbers, found {reprlib.repr(values)}")
    return tuple(_number({name: value}, name) for value in values)
