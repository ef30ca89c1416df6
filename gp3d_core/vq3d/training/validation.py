"""How good a tokenizer is: reconstruction, depth, how solid it is along rays, how many codes it uses, and novel views.

Letters: B batch, R pixels a side, N tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gp3d_core.datasets import depth_codes
from gp3d_core.datasets.dataset import Dataset
from gp3d_core.vq3d.models.codebook import usage
from gp3d_core.vq3d.models.tokenizer import Tokenizer
from gp3d_core.vq3d.rendering.depth import DepthSpace
from gp3d_core.vq3d.rendering.views import input_pose, to_radiance
from gp3d_core.vq3d.training.true_views import Pairs

_BATCH = 8


def psnr(one: Tensor, other: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in decibels, [B], of images [B,3,R,R] in [-1, 1]."""
    error = (to_radiance(one) - to_radiance(other)).square().mean(dim=(1, 2, 3))
    return -10 * error.clamp(min=1e-10).log10()


def depth_correlation(one: Tensor, other: Tensor) -> Tensor:
    """Pearson's correlation [B] of maps [B,R,R]; 0 where one of them is flat."""
    a, b = (x.flatten(1) - x.flatten(1).mean(dim=1, keepdim=True) for x in (one, other))
    size = (a.square().sum(dim=1) * b.square().sum(dim=1)).sqrt()
    return torch.where(size > 1e-8, (a * b).sum(dim=1) / size.clamp(min=1e-8), 0.0)


@torch.no_grad()
def measure(tokenizer: Tokenizer, images: Tensor, target: Tensor) -> dict[str, float]:
    """Means over `images` [B,3,R,R] in [-1, 1] with depth `target` [B,R,R]; all in one pass without jitter.

    psnr, depth_correlation, depth_rmse (of the whole range), ray_spread (mean standard deviation of inverse depth along
    a ray, over the range), code_usage (share of the codebook) and perplexity.
    """
    space = DepthSpace.of(tokenizer.config.camera)
    codes, values = [], []
    for some, truth in zip(images.split(_BATCH), target.split(_BATCH), strict=True):
        encoding = tokenizer.encode(some)
        view = tokenizer.render(tokenizer.decode(encoding.codes), input_pose(len(some), some.device))
        depth = space.normalise(view.disparity)
        codes.append(encoding.codes)
        rmse = (depth - truth).square().mean(dim=(1, 2)).sqrt()
        spread = view.spread.mean(dim=(1, 2)) / (space.high - space.low)
        values.append(torch.stack([psnr(view.images, some), depth_correlation(depth, truth), rmse, spread]))
    means = torch.cat(values, dim=1).mean(dim=1).tolist()
    used, perplexity = usage(torch.cat(codes), tokenizer.config.codebook.size)
    names = ("psnr", "depth_correlation", "depth_rmse", "ray_spread")
    return dict(zip(names, means, strict=True)) | {"code_usage": used, "perplexity": perplexity}


@torch.no_grad()
def novel_psnr(tokenizer: Tokenizer, dataset: Dataset, pairs: Pairs) -> dict[str, float]:
    """Mean PSNR of novel views against true ones, and of the input, copied, against the same: what it costs to move."""
    device = tokenizer.codebook.codes.device
    made, copied = [], []
    for k in range(0, len(pairs.source), _BATCH):
        part = slice(k, k + _BATCH)
        source, other = (
            load_images(dataset, which[part]).to(device) for which in (pairs.source, pairs.other)
        )
        planes = tokenizer.decode(tokenizer.encode(source).codes)
        view = tokenizer.render(planes, pairs.poses[part].to(device))
        made.append(psnr(view.images, other))
        copied.append(psnr(source, other))
    if not made:
        return {}
    return {"novel_psnr": float(torch.cat(made).mean()), "copied_psnr": float(torch.cat(copied).mean())}


def load_images(dataset: Dataset, numbers: list[int]) -> Tensor:
    """Images [B,3,R,R] in [-1, 1] of a data set."""
    pictures = [torch.tensor(dataset.load_image(k)) for k in numbers]
    return torch.stack(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1


def load_depth(dataset: Dataset, numbers: list[int]) -> Tensor:
    """Coded depth [B,1,R,R] in [-1, 1] of a data set, larger = farther."""
    maps = [torch.from_numpy(dataset.load_depth(k).astype("float32")) for k in numbers]
    return depth_codes.to_normalised(torch.stack(maps))[:, None]
