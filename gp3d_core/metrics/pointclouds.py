"""Sets of point clouds compared: Chamfer distance, coverage, minimum matching distance, nearest-neighbour test.

A cloud is P points on a surface, centred on their mean and scaled so that the farthest has distance 1. The Chamfer
distance is of the squared kind, CD(A, B) = mean_a min_b |a − b|² + mean_b min_a |a − b|², as coverage and MMD
(Achlioptas et al., ICML 2018) and the 1-NN accuracy (Yang et al., ICCV 2019) are usually quoted, without a factor.

Legend: N and M clouds, P points.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import trimesh
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor
from tqdm import tqdm
from trimesh import sample

from gp3d_core.ops.checks import check_shape

POINTS = 2048  # of a cloud, 3DGP appendix H


def surface_points(vertices: NDArray[Any], faces: NDArray[Any], seed: int, count: int = POINTS) -> Tensor:
    """`count` points float32 [P,3], spread evenly over the area of triangles [F,3] with vertices [V,3].

    A surface without area, an empty one included, gives its first vertex, or the origin, `count` times.
    """
    mesh = trimesh.Trimesh(vertices, faces, process=False)
    if len(faces) == 0 or not mesh.area > 0:
        place = vertices[0] if len(vertices) else np.zeros(3)
        return torch.from_numpy(np.tile(place, (count, 1)).astype(np.float32))
    return torch.from_numpy(np.asarray(sample.sample_surface(mesh, count, seed=seed)[0], np.float32))


def unit_clouds(clouds: Tensor) -> Tensor:
    """Clouds [N,P,3], each centred on its mean with its farthest point at distance 1; a single point becomes 0."""
    check_shape("clouds", clouds, "N P 3")
    centred = clouds - clouds.mean(dim=1, keepdim=True)
    radius = centred.norm(dim=2).amax(dim=1)
    centred[radius < 1e-6] = 0
    return centred / radius.clamp(min=1e-6)[:, None, None]


@torch.no_grad()
def chamfer_matrix(first: Tensor, second: Tensor, *, device: torch.device | str = "cpu") -> Tensor:
    """Squared Chamfer distances float64 [N,M] between clouds [N,P,3] and [M,P,3].

    By search trees on a CPU, by all distances elsewhere. Of a set with itself (the same tensor) each pair is
    computed once.
    """
    check_shape("first", first, "N P 3")
    check_shape("second", second, "M P 3")
    same = first is second
    compare = (
        _TreeChamfer(first, second)
        if torch.device(device).type == "cpu"
        else _DenseChamfer(first, second, device)
    )
    found = torch.zeros(len(first), len(second), dtype=torch.float64)
    with tqdm(
        total=found.numel(), desc="Chamfer", unit="pair", file=sys.stderr, disable=None, leave=False
    ) as bar:
        for i in range(len(first)):
            columns = range(i + 1, len(second)) if same else range(len(second))
            found[i, list(columns)] = compare.row(i, columns)
            if same:
                found[i + 1 :, i] = found[i, i + 1 :]
            bar.update(len(second))
    return found


class _TreeChamfer:
    def __init__(self, first: Tensor, second: Tensor) -> None:
        self._second = [cloud.double().numpy() for cloud in second.cpu()]
        self._second_trees = [cKDTree(cloud) for cloud in self._second]
        self._first = self._second if first is second else [cloud.double().numpy() for cloud in first.cpu()]
        self._first_trees = (
            self._second_trees if first is second else [cKDTree(cloud) for cloud in self._first]
        )

    def row(self, i: int, columns: range) -> Tensor:
        """Distances of cloud `i` of the first set to those of the second."""
        there = [self._second_trees[j].query(self._first[i])[0] for j in columns]
        back = [self._first_trees[i].query(self._second[j])[0] for j in columns]
        means = [(a**2).mean() + (b**2).mean() for a, b in zip(there, back, strict=True)]
        return torch.tensor(means, dtype=torch.float64)


class _DenseChamfer:
    def __init__(self, first: Tensor, second: Tensor, device: torch.device | str, chunk: int = 2**26) -> None:
        self._first, self._second = first.to(device), second.to(device)
        self._group = max(1, chunk // (first.shape[1] * second.shape[1]))

    def row(self, i: int, columns: range) -> Tensor:
        """Distances of cloud `i` of the first set to those of the second; not by products, which lose digits."""
        parts = [torch.empty(0, dtype=torch.float64)]
        for some in self._second[columns.start : columns.stop].split(self._group):
            mine = self._first[i].expand(len(some), -1, -1)
            apart = torch.cdist(mine, some, compute_mode="donot_use_mm_for_euclid_dist").square()
            parts.append((apart.amin(dim=2).mean(dim=1) + apart.amin(dim=1).mean(dim=1)).double().cpu())
        return torch.cat(parts)


@dataclass(frozen=True)
class SetScores:
    """How a set of clouds compares with a reference set.

    coverage: share of the reference that is the nearest one of some cloud. mmd: mean over the reference of the
    distance to the nearest cloud. nna: share of clouds of both sets whose nearest other cloud is of their own set;
    0.5 if one cannot tell the sets apart, 1 if they lie apart, 0 for copies.
    """

    coverage: float
    mmd: float
    nna: float


def set_scores(within: Tensor, between: Tensor, reference: Tensor) -> SetScores:
    """Scores of N clouds from their distances `within` [N,N], to M of the reference `between` [N,M], and among those.

    `reference` is [M,M]. The nearest-neighbour test is fair for N = M only: raises ValueError otherwise, and for
    sets of fewer than two.
    """
    sizes = check_shape("between", between, "N M")
    if sizes["N"] != sizes["M"] or sizes["N"] < 2:
        raise ValueError(f"expected two sets of one size, at least 2, found {sizes['N']} and {sizes['M']}")
    count = sizes["N"]
    coverage = len(between.argmin(dim=1).unique()) / count
    mmd = float(between.amin(dim=0).mean())
    everyone = torch.cat([torch.cat([within, between], 1), torch.cat([between.T, reference], 1)])
    everyone.fill_diagonal_(torch.inf)
    own = torch.arange(2 * count) < count
    nna = float((own[everyone.argmin(dim=1)] == own).double().mean())
    return SetScores(coverage, mmd, nna)
