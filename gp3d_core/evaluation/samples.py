"""Who is measured: generated images in an order that the seed alone decides, and real ones in the data set's.

Generated ones follow 3DGP's protocol: plain noise, the class of a random image of the data set, a camera of the prior
that the camera generator adapts, random noise maps, 8-bit colours. They are made in blocks of 16, which depend on seed
and block number alone: not on how many are made, in which order, nor by how many processes.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gp3d_core.config.schema import Prior
from gp3d_core.datasets.dataset import Dataset
from gp3d_core.errors import GP3DError
from gp3d_core.networks.generator import GeneratorOutput
from gp3d_core.networks.latents import Latents, class_centre, sample_latents
from gp3d_core.rendering.cameras import Cameras
from gp3d_core.rendering.volume import rays_at_a_time
from gp3d_core.rng import generator_for
from gp3d_core.snapshots.snapshot import Snapshot

BLOCK = 16


class EvaluationError(GP3DError):
    """An evaluation that cannot be made or does not belong where it is to be written; the message says why."""


def labels_in(snapshot: Snapshot, dataset: Dataset) -> Tensor:
    """The data set's labels [N] in the snapshot's numbering, classes matched by name.

    Raises EvaluationError when the data set has a class that the snapshot was not trained on, or none at all.
    """
    if len(snapshot.classes) < 2:
        return torch.zeros(len(dataset), dtype=torch.int64)
    if not dataset.classes:
        raise EvaluationError(
            f"{dataset.path} has no classes, {snapshot.path} was trained with {len(snapshot.classes)}: "
            "use a data set with labels"
        )
    known = {record["name"]: record["label"] for record in snapshot.classes}
    if unknown := [record["name"] for record in dataset.classes if record["name"] not in known]:
        raise EvaluationError(
            f"{dataset.path} has the class {unknown[0]!r}, which {snapshot.path} was not trained on "
            f"({len(unknown)} such): use data of the snapshot's classes"
        )
    numbers = np.array([known[record["name"]] for record in dataset.classes], dtype=np.int64)
    return torch.from_numpy(numbers[dataset.labels])


@dataclass(frozen=True, eq=False)
class Sampler:
    """Makes the generated images of one evaluation.

    `labels` [N] and `angles` [N,2] (None without custom cameras) are those of the data set's images, as frequencies.
    """

    snapshot: Snapshot
    labels: Tensor
    angles: Tensor | None
    seed: int
    truncation: float

    def latents(self, purpose: str, number: int, count: int) -> Latents:
        """What block `number` of `count` samples is made from; `purpose` keeps different uses apart."""
        snapshot = self.snapshot
        draws = generator_for(
            "evaluation", purpose, self.seed, number
        )  # on the CPU: the same on every device
        latents = sample_latents(
            snapshot.config,
            self.labels,
            len(snapshot.classes),
            count,
            nimg=snapshot.nimg,
            generator=draws,
            angles=self.angles,
        )
        c = None if latents.c is None else latents.c.to(self.device)
        return replace(latents, z=latents.z.to(self.device), c=c, prior=latents.prior.to(self.device))

    @torch.no_grad()
    def view(
        self,
        latents: Latents,
        adapt: Callable[[Latents], Cameras],
        purpose: str,
        number: int,
        cut_quantile: float = 0.0,
    ) -> GeneratorOutput:
        """The samples as the cameras that `adapt` gives see them; noise maps are of block `number`."""
        generator = self.snapshot.generator
        pulled = self.truncation != 1.0 and generator.mapping.truncates_to_class
        centre = self._centres(latents) if pulled else None
        cameras = adapt(latents)
        ws = generator.codes(latents.z, latents.c, cameras, truncation=self.truncation, centre=centre)
        noise = generator_for("evaluation noise", purpose, self.seed, number, device=self.device)
        planes = generator.noisy_planes(ws, noise)
        return generator.view(
            ws, cameras, planes=planes, chunk=rays_at_a_time(len(ws)), cut_quantile=cut_quantile
        )

    def block(self, number: int) -> GeneratorOutput:
        """Images number·16 to number·16 + 15, from posterior cameras."""
        return self.view(self.latents("images", number, BLOCK), self.posterior, "images", number)

    def posterior(self, latents: Latents) -> Cameras:
        """The prior's cameras as the camera generator adapts them to the samples."""
        return self.snapshot.generator.cameras(latents.prior, latents.z, latents.c)

    @property
    def device(self) -> torch.device:
        """Where the snapshot's weights are."""
        return self.snapshot.generator.mapping.w_avg.device

    @property
    def facts(self) -> dict[str, Any]:
        """What every score of these samples has to say."""
        return {
            "cameras": describe_cameras(self.snapshot, self.angles is not None),
            "truncation": self.truncation,
            "noise": "random",
            "classes": "drawn like the data set's" if len(self.snapshot.classes) > 1 else "one",
            "seed": self.seed,
        }

    def _centres(self, latents: Latents) -> Tensor:
        """The truncation's centre [B,D] of each sample's class."""
        labels = torch.zeros(len(latents.z)).long() if latents.c is None else latents.c.argmax(dim=1)
        return torch.stack([self._centre(int(label)) for label in labels])

    def _centre(self, label: int) -> Tensor:
        if label not in self._known_centres:
            known = len(self.snapshot.classes)
            self._known_centres[label] = class_centre(self.snapshot.generator, label, known)
        return self._known_centres[label]

    @cached_property
    def _known_centres(self) -> dict[int, Tensor]:
        return {}


def describe_cameras(snapshot: Snapshot, custom: bool) -> str:
    """The distribution that cameras are drawn from, in words."""
    if snapshot.config.dimensions < 3:
        return "none: pictures without depth"
    camera, adapted = snapshot.config.camera, snapshot.config.camera_generator.adjust
    parts = [f"{name} {_describe(getattr(camera, name))}" for name in ("yaw", "pitch", "fov", "radius")]
    if camera.look_at_radius.high > 0:
        parts.append(f"look-at radius {_describe(camera.look_at_radius)}")
    prior = "prior: " + ", ".join(parts) + ("; yaw and pitch of the data set's images" if custom else "")
    names = adapted if isinstance(adapted, str) else ", ".join(adapted)
    return f"{prior}; then the camera generator ({names})" if adapted else prior


def _describe(prior: Prior) -> str:
    if prior.kind == "constant":
        return f"{prior.mean:.4g}"
    if prior.kind in ("normal", "hybrid", "truncnorm"):
        return f"{prior.kind} {_middle(prior):.4g} ± {prior.std:.4g}"
    return f"{prior.kind} {prior.low:.4g} to {prior.high:.4g}"


def _middle(prior: Prior) -> float:
    return (prior.low + prior.high) / 2 if prior.kind == "truncnorm" else prior.mean


def real_images(dataset: Dataset, start: int, stop: int, pool: ThreadPoolExecutor) -> Tensor:
    """Images `start` to `stop` − 1 of the data set, uint8 [B,3,R,R], as they lie on disk."""
    loaded = pool.map(dataset.load_image, range(start, stop))
    return torch.from_numpy(np.stack(list(loaded))).permute(0, 3, 1, 2)


def to_uint8(rgb: Tensor) -> Tensor:
    """Images [B,3,R,R] in [-1, 1] as 8 bits, rgb·127.5 + 128 cut down, as the papers' scores take them."""
    return (rgb * 127.5 + 128).clamp(0, 255).to(torch.uint8)
