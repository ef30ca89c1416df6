"""Feature networks of point clouds: PointNet (Qi et al., CVPR 2017) and PointNet++ (Qi et al., NeurIPS 2017).

Written from the papers; parameters carry the names of the two widespread PyTorch ports, so that their files load
strictly. Features are the last hidden layer, 256 numbers, as FID takes the layer before the logits. Clouds come as
`pointclouds.unit_clouds` makes them, in the GP3D frame (y up, front +z); the networks see them as ModelNet40 stands,
with the front along −z.

Legend: N clouds, P points, S centres, K neighbours, C channels.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gp3d_core.networks.foreign_weights import WeightsError, fill, read_weights
from gp3d_core.ops.checks import check_shape

FEATURES = 256
_BATCH = 16  # clouds at a time
_AS_IN_MODELNET = (-1.0, 1.0, -1.0)


class PointNet(nn.Module):
    """PointNet without its alignment networks: a perceptron for every point, the maximum, a classifier."""

    title = "PointNet"

    def __init__(self, classes: int) -> None:
        """`classes` logits; the layout is that of learning3d's classifier."""
        super().__init__()
        self.feature_model = nn.Module()
        for layer, (before, after) in enumerate(((3, 64), (64, 64), (64, 64), (64, 128), (128, 1024)), 1):
            setattr(self.feature_model, f"conv{layer}", nn.Conv1d(before, after, 1))
            setattr(self.feature_model, f"bn{layer}", nn.BatchNorm1d(after))
        self.linear1, self.bn1 = nn.Linear(1024, 512), nn.BatchNorm1d(512)
        self.linear2, self.bn2 = nn.Linear(512, FEATURES), nn.BatchNorm1d(FEATURES)
        self.linear3 = nn.Linear(FEATURES, classes)

    def forward(self, clouds: Tensor) -> tuple[Tensor, Tensor]:
        """Features [N,256] and logits [N,classes] of clouds [N,P,3]."""
        x = clouds.transpose(1, 2)
        parts = dict(self.feature_model.named_children())
        for layer in range(1, 6):
            x = F.relu(parts[f"bn{layer}"](parts[f"conv{layer}"](x)))
        x = F.relu(self.bn1(self.linear1(x.amax(dim=2))))
        x = F.relu(self.bn2(self.linear2(x)))
        return x, self.linear3(x)


class SetAbstraction(nn.Module):
    """Points around centres → one feature a centre (PointNet++ §3.2); without a radius, all points → one feature."""

    def __init__(
        self, widths: tuple[int, ...], *, centres: int = 1, radius: float = 0.0, most: int = 0
    ) -> None:
        """A perceptron of `widths`, the first of them its input, over at most `most` points within `radius`."""
        super().__init__()
        self.centres, self.radius, self.most = centres, radius, most
        pairs = list(pairwise(widths))
        self.mlp_convs = nn.ModuleList(nn.Conv2d(before, after, 1) for before, after in pairs)
        self.mlp_bns = nn.ModuleList(nn.BatchNorm2d(after) for _, after in pairs)

    def forward(self, points: Tensor, features: Tensor | None) -> tuple[Tensor, Tensor]:
        """Centres [N,S,3] and their features [N,S,C'] of points [N,P,3] with features [N,P,C]."""
        if self.radius:
            centres = _gather(points, farthest_points(points, self.centres))
            near = ball_neighbours(points, centres, self.radius, self.most)  # [N,S,K]
            x = _gather(points, near) - centres[:, :, None]
        else:
            centres = torch.zeros_like(points[:, :1])
            near = torch.arange(points.shape[1], device=points.device).expand(len(points), 1, -1)
            x = points[:, None]
        if features is not None:
            x = torch.cat([x, _gather(features, near)], dim=-1)
        x = x.permute(0, 3, 2, 1)  # [N,C,K,S]
        for convolution, normalisation in zip(self.mlp_convs, self.mlp_bns, strict=True):
            x = F.relu(normalisation(convolution(x)))
        return centres, x.amax(dim=2).transpose(1, 2)


class PointNet2(nn.Module):
    """PointNet++ with one scale of grouping, coordinates alone: 512 centres, 128 centres, all."""

    title = "PointNet++"

    def __init__(self, classes: int) -> None:
        """`classes` logits; the layout is that of Pointnet_Pointnet2_pytorch's `pointnet2_cls_ssg`."""
        super().__init__()
        self.sa1 = SetAbstraction((3, 64, 64, 128), centres=512, radius=0.2, most=32)
        self.sa2 = SetAbstraction((131, 128, 128, 256), centres=128, radius=0.4, most=64)
        self.sa3 = SetAbstraction((259, 256, 512, 1024))
        self.fc1, self.bn1 = nn.Linear(1024, 512), nn.BatchNorm1d(512)
        self.fc2, self.bn2 = nn.Linear(512, FEATURES), nn.BatchNorm1d(FEATURES)
        self.fc3 = nn.Linear(FEATURES, classes)

    def forward(self, clouds: Tensor) -> tuple[Tensor, Tensor]:
        """Features [N,256] and logits [N,classes] of clouds [N,P,3] with at least 512 points."""
        points, features = self.sa1(clouds, None)
        points, features = self.sa2(points, features)
        _, features = self.sa3(points, features)
        x = F.relu(self.bn1(self.fc1(features[:, 0])))
        x = F.relu(self.bn2(self.fc2(x)))
        return x, self.fc3(x)


def farthest_points(points: Tensor, count: int) -> Tensor:
    """Indices [N,count]: each the point of [N,P,3] farthest from those before it; the first is farthest from 0."""
    distance = torch.full(points.shape[:2], torch.inf, device=points.device)
    chosen = [points.square().sum(dim=2).argmax(dim=1)]
    for _ in range(count - 1):
        last = _gather(points, chosen[-1][:, None])
        distance = torch.minimum(distance, (points - last).square().sum(dim=2))
        chosen.append(distance.argmax(dim=1))
    return torch.stack(chosen, dim=1)


def ball_neighbours(points: Tensor, centres: Tensor, radius: float, most: int) -> Tensor:
    """Indices [N,S,K] of the first `most` points [N,P,3] within `radius` of each centre [N,S,3].

    Where there are fewer, the first is repeated. A centre is a point, so that there is at least one.
    """
    index = torch.arange(points.shape[1], device=points.device).expand(len(points), centres.shape[1], -1)
    near = torch.cdist(centres, points, compute_mode="donot_use_mm_for_euclid_dist") <= radius
    found = torch.where(near, index, points.shape[1]).topk(most, dim=2, largest=False, sorted=True).values
    return torch.where(found < points.shape[1], found, found[:, :, :1])


def _gather(rows: Tensor, index: Tensor) -> Tensor:
    """Rows [N,...,C] of [N,P,C] with `index` [N,...]."""
    flat = index.flatten(1)
    taken = rows.gather(1, flat[..., None].expand(-1, -1, rows.shape[-1]))
    return taken.unflatten(1, index.shape[1:])


def load_pointnet(path: Path, device: torch.device | str = "cpu") -> PointNet | PointNet2:
    """The network whose weights are in the file, in evaluation mode, strictly.

    Raises WeightsError for a file that is missing, damaged or of another network.
    """
    tensors = read_weights(path)
    if "linear3.weight" in tensors:
        network: PointNet | PointNet2 = PointNet(len(tensors["linear3.weight"]))
    elif "fc3.weight" in tensors and "sa1.mlp_convs.0.weight" in tensors:
        network = PointNet2(len(tensors["fc3.weight"]))
    else:
        raise WeightsError(
            f"{path}: expected a PointNet classifier (feature_model.conv1 … linear3) or a PointNet++ one with "
            f"single-scale grouping (sa1.mlp_convs … fc3), found {', '.join(sorted(tensors)[:3])}, …"
        )
    fill(network, tensors, path, f"{network.title} on coordinates alone")
    return network.to(device).eval().requires_grad_(False)


@torch.no_grad()
def cloud_features(network: PointNet | PointNet2, clouds: Tensor) -> tuple[Tensor, Tensor]:
    """Features [N,256] and logits [N,classes] of clouds [N,P,3] in the GP3D frame, on the CPU.

    A few at a time on the network's device.
    """
    check_shape("clouds", clouds, "N P 3")
    device = next(network.parameters()).device
    turned = clouds * clouds.new_tensor(_AS_IN_MODELNET)
    parts = [network(some.to(device)) for some in turned.split(_BATCH)]
    return torch.cat([f.cpu() for f, _ in parts]), torch.cat([logits.cpu() for _, logits in parts])
