"""A small classifier of small renders: which class does a picture show? For measuring, not for teaching.

Four convolutions that halve the picture, a mean, one linear layer. Its training pictures are flipped, moved, dimmed and
blurred at random, so that it looks at shape and colour and not at sharpness. Letters: N pictures, B of a step.
"""

from __future__ import annotations

import sys
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from gp3d_core.ops.checks import check_shape
from gp3d_core.rng import generator_for

BATCH = 64
STEPS = 2000
_WIDTHS = (3, 24, 48, 96, 128)
_PEAK_RATE = 3e-3
_DECAY = 0.01
_SHIFT = 4  # pixels
_CHUNK = 256


class SmallClassifier(nn.Module):
    """Logits of pictures; about 0.17 million weights."""

    def __init__(self, classes: int) -> None:
        """`classes` logits."""
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in pairwise(_WIDTHS):
            layers += [
                nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(),
            ]
        self.layers = nn.Sequential(*layers)
        self.output = nn.Linear(_WIDTHS[-1], classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B,classes] of images [B,3,h,h] in [-1, 1]."""
        return self.output(self.layers(images).mean(dim=(2, 3)))


def train_classifier(
    images: Tensor,
    labels: Tensor,
    classes: int,
    *,
    seed: int,
    steps: int = STEPS,
    device: torch.device | str = "cpu",
) -> SmallClassifier:
    """A classifier trained on uint8 images [N,3,h,h] with labels int64 [N], in evaluation mode.

    Every class is drawn equally often. AdamW with one cycle of the learning rate.
    """
    check_shape("labels", labels, "N", check_shape("images", images, "N 3 H H"))
    draws = generator_for("classifier", seed)
    with torch.random.fork_rng():
        torch.manual_seed(generator_for("classifier weights", seed).initial_seed())
        network = SmallClassifier(classes).to(device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=_PEAK_RATE, weight_decay=_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _PEAK_RATE, total_steps=steps)
    chance = 1.0 / torch.bincount(labels, minlength=classes).clamp(min=1)[labels].double()
    for _ in tqdm(range(steps), desc="classifier", unit="step", file=sys.stderr, disable=None, leave=False):
        chosen = torch.multinomial(chance, BATCH, replacement=True, generator=draws)
        batch = vary(images[chosen].float() / 127.5 - 1, draws).to(device, memory_format=torch.channels_last)
        loss = F.cross_entropy(network(batch), labels[chosen].to(device), label_smoothing=0.05)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return network.eval().requires_grad_(False)


def vary(images: Tensor, draws: torch.Generator) -> Tensor:
    """Images [B,3,h,h] flipped, moved by up to 4 pixels on white, dimmed by up to 20 % and some blurred, at random."""
    size = images.shape[-1]
    padded = F.pad(images, (_SHIFT,) * 4, value=1.0)
    moved = torch.empty_like(images)
    for i, image in enumerate(padded):
        left, top, flip = (
            int(torch.randint(k, (), generator=draws)) for k in (2 * _SHIFT + 1, 2 * _SHIFT + 1, 2)
        )
        piece = image[:, top : top + size, left : left + size]
        moved[i] = piece.flip(-1) if flip else piece
    dim = 1 - 0.2 * torch.rand(len(images), 1, 1, 1, generator=draws)
    moved = (moved + 1) * dim - 1
    for _ in range(2):
        blurred = F.avg_pool2d(F.pad(moved, (1, 1, 1, 1), mode="replicate"), 3, 1)
        moved = torch.where(torch.rand(len(images), 1, 1, 1, generator=draws) < 0.4, blurred, moved)
    return moved


@torch.no_grad()
def classify(network: SmallClassifier, images: Tensor) -> Tensor:
    """Labels [N] that the network gives uint8 images [N,3,h,h], on the CPU."""
    device = network.output.weight.device
    parts = [
        network(some.to(device).float() / 127.5 - 1).argmax(dim=1).cpu() for some in images.split(_CHUNK)
    ]
    return torch.cat(parts) if parts else torch.empty(0, dtype=torch.int64)
