"""Rendering operations in plain torch: the reference that every accelerated body is tested against.

Legend: B batch, C channels, H W plane height and width, N points, R rays, S samples of a ray, F new samples of a ray.
    t            increasing distances from the ray origin, in world units; s the same as a fraction, 0 near and 1 far
    sigma        density after activation, ≥ 0, per world unit
    weights      share of the light that each sample sends to the eye; their sum is the opacity
Everything works in float32 and float64 and is differentiable once (bilinear sampling has no second derivative in
torch) in every floating-point argument, except `sample_importance`, whose samples are constants.
Numbers: 3DGP §3.1 and appendix; NeRF Eq. 3 (compositing) and §5.2 (importance sampling).
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import torch
from torch.nn import functional as F

from gp3d_core.ops.checks import check_shape

PLANE_AXES = ((0, 1), (0, 2), (1, 2))  # the planes xy, xz, yz: (axis along width, axis along height)
WHITE = 1.0  # in images that span [-1, 1]
SIGMOID_MARGIN = 0.001  # beyond 0 and 1, so that pure black and white lie within reach


class Perceptron(NamedTuple):
    """Two layers from C features to colour and raw density, with W leaky units of slope 0.2 between.

    hidden_weight [W,C], hidden_bias [W], output_weight [4,W], output_bias [4]; every gain is in them. `bounded`
    sends colours through a sigmoid that is widened to [-1.002, 1.002].
    """

    hidden_weight: torch.Tensor
    hidden_bias: torch.Tensor
    output_weight: torch.Tensor
    output_bias: torch.Tensor
    bounded: bool = False


Background = Literal["none", "last", "white"]


class Composite(NamedTuple):
    """What a ray brings back: rgb [B,R,C], depth [B,R,1], opacity [B,R,1] and the weights [B,R,S] that made them."""

    rgb: torch.Tensor
    depth: torch.Tensor
    opacity: torch.Tensor
    weights: torch.Tensor


def sample_triplane(planes: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Features [B,N,C] of points [B,N,3], the mean of bilinear look-ups in planes [B,3,C,H,W] (xy, xz, yz).

    The planes cover [-1,1]³, their outermost texel centres lying on ±1: texel (0,0) is at (-1,-1), the first axis of
    a plane's name runs along its width, the second along its height. Outside, features fall to 0 over one texel.
    Planes in half precision are read in the type of the points.
    """
    return sample_planes(planes, points).mean(dim=1).transpose(1, 2)


def sample_planes(
    planes: torch.Tensor,
    points: torch.Tensor,
    *,
    axes: tuple[tuple[int, int], ...] = PLANE_AXES,
    corners_at_border: bool = True,
) -> torch.Tensor:
    """The three look-ups [B,3,C,N] that `sample_triplane` takes the mean of.

    `axes` are those along width and height of each plane. The border ±1 runs through the centres of the outermost
    texels, or along their outer edges without `corners_at_border`, where features fall to 0 over the next half texel.
    """
    sizes = check_shape("planes", planes, "B 3 C H W")
    sizes = check_shape("points", points, "B N 3", sizes)
    planes = planes.to(points.dtype)
    grid = torch.stack([_pair(points, *pair) for pair in axes], dim=1)  # [B,3,N,2]
    features = F.grid_sample(
        planes.flatten(0, 1),
        grid.flatten(0, 1).unsqueeze(1),
        mode="bilinear",
        padding_mode="zeros",
        align_corners=corners_at_border,
    )
    return features.reshape(sizes["B"], 3, sizes["C"], sizes["N"])


def _pair(points: torch.Tensor, a: int, b: int) -> torch.Tensor:
    """Coordinates `a` and `b` [...,2] of points [...,3]."""
    # a slice, since an index in a list would be sent to the device, which waits for everything before it
    low, high = min(a, b), max(a, b)
    pair = points[..., low : high + 1 : high - low]
    return pair if a < b else pair.flip(-1)


def plane_by_plane(planes: torch.Tensor) -> torch.Tensor:
    """The planes [B,3,C,H,W] in float32, each channel of each in one piece of memory, as `sample_planes` reads them.

    The slope goes back with channels last, in the type of the planes: what a backbone in half precision works with.
    """
    return _PlaneByPlane.apply(planes)  # type: ignore[no-untyped-call]


class _PlaneByPlane(torch.autograd.Function):
    """Left to itself, torch takes two copies either way, and hands on a layout that the layers before are slow in."""

    @staticmethod
    def forward(ctx: Any, planes: torch.Tensor) -> torch.Tensor:
        ctx.dtype = planes.dtype
        return planes.to(torch.float32, memory_format=torch.contiguous_format)

    @staticmethod
    def backward(ctx: Any, *slopes: torch.Tensor) -> torch.Tensor:
        (slope,) = slopes
        last = slope.flatten(1, 2).to(ctx.dtype, memory_format=torch.channels_last)
        return last.unflatten(1, slope.shape[1:3])


def decode_triplane(
    planes: torch.Tensor, points: torch.Tensor, perceptron: Perceptron, *, box: float = 1.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """rgb [B,N,3] and raw density [B,N,1] at points [B,N,3] of planes [B,3,C,H,W] that span [-box, box]³."""
    features = sample_triplane(planes, points / box)
    units = F.leaky_relu(F.linear(features, perceptron.hidden_weight, perceptron.hidden_bias), 0.2)
    rgb, raw = F.linear(units, perceptron.output_weight, perceptron.output_bias).split([3, 1], dim=-1)
    if perceptron.bounded:
        rgb = (torch.sigmoid(rgb) * (1.0 + 2.0 * SIGMOID_MARGIN) - SIGMOID_MARGIN) * 2.0 - 1.0
    return rgb, raw


def activate_density(
    raw: torch.Tensor, *, scale: float = 1.0, gain: float = 1.0, shift: float = 0.0
) -> torch.Tensor:
    """Density scale · softplus(gain · raw + shift), of the shape of `raw`."""
    return scale * F.softplus(gain * raw + shift)


def cut_density(sigma: torch.Tensor, quantile: float) -> torch.Tensor:
    """Densities with everything strictly below their `quantile` (in [0,1], over the whole tensor) set to 0.

    Between two order statistics the threshold is interpolated linearly; it carries no gradient.
    """
    if not 0.0 <= quantile <= 1.0:
        raise ValueError(f"quantile must lie in [0, 1], got {quantile}")
    values = sigma.detach().flatten()
    rank = quantile * (values.numel() - 1)
    # not torch.quantile: it refuses more than 2²⁴ values
    below = values.kthvalue(math.floor(rank) + 1).values
    above = values.kthvalue(math.ceil(rank) + 1).values
    return torch.where(sigma < torch.lerp(below, above, rank % 1.0), 0.0, sigma)


def ray_weights(sigma: torch.Tensor, t: torch.Tensor, *, last_interval: float) -> torch.Tensor:
    """Compositing weights [B,R,S] = T·(1 − exp(−sigma·Δ)) with transmittance T_k = exp(−Σ_{j<k} sigma_j·Δ_j).

    Δ_k = t_{k+1} − t_k, and `last_interval` for the last sample: with 1e10 it is a wall that stops all light left.
    """
    sizes = check_shape("sigma", sigma, "B R S")
    check_shape("t", t, "B R S", sizes)
    last = torch.full_like(t[..., :1], last_interval)
    thickness = sigma * torch.cat([t.diff(dim=-1), last], dim=-1)
    before = F.pad(thickness[..., :-1].cumsum(dim=-1), (1, 0))
    return torch.exp(-before) * -torch.expm1(-thickness)


def composite_rays(
    rgb: torch.Tensor,
    sigma: torch.Tensor,
    t: torch.Tensor,
    *,
    last_interval: float,
    background: Background = "none",
    t_far: float,
) -> Composite:
    """Colour Σw·rgb, depth Σw·t and opacity Σw of rays with colours [B,R,S,C] and densities [B,R,S] at t [B,R,S].

    The light that nothing stopped, 1 − Σw, is dropped (none), given to the last sample, whose weight then includes it
    (last), or shows a white wall at `t_far` (white), so that an empty ray is white and as deep as the far plane.
    """
    sizes = check_shape("sigma", sigma, "B R S")
    check_shape("rgb", rgb, "B R S C", sizes)
    weights = ray_weights(sigma, t, last_interval=last_interval)
    missing = 1.0 - weights.sum(dim=-1, keepdim=True)
    if background == "last":
        weights = torch.cat([weights[..., :-1], weights[..., -1:] + missing], dim=-1)
    colour = (weights.unsqueeze(-1) * rgb).sum(dim=-2)
    depth = (weights * t).sum(dim=-1, keepdim=True)
    if background == "white":
        colour = colour + missing * WHITE
        depth = depth + missing * t_far
    return Composite(colour, depth, weights.sum(dim=-1, keepdim=True), weights)


@torch.no_grad()
def sample_importance(s: torch.Tensor, weights: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
    """New positions [B,R,F] where the `weights` [B,R,S] of increasing positions `s` [B,R,S] are large; no gradient.

    Inverts, at the numbers `u` [B,R,F] in [0,1], the piecewise linear distribution function whose bins are bounded by
    the midpoints of `s` and carry the weights of the S − 2 inner samples, plus a little so that no bin is empty.
    Increasing `u` give increasing positions. Raises ValueError for fewer than 3 samples.
    """
    sizes = check_shape("s", s, "B R S")
    check_shape("weights", weights, "B R S", sizes)
    check_shape("u", u, "B R F", sizes)
    if sizes["S"] < 3:
        raise ValueError(f"importance sampling needs at least 3 coarse samples, got {sizes['S']}")
    borders = 0.5 * (s[..., 1:] + s[..., :-1])
    return invert_histogram(borders, weights[..., 1:-1] + 2e-5, u)  # the released code adds 1e-5 twice


@torch.no_grad()
def invert_histogram(borders: torch.Tensor, density: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
    """Positions [...,F] at which a distribution function reaches the numbers `u` [...,F] in [0,1]; no gradient.

    The bin from borders[i] to borders[i + 1] has the share of density[i] in their sum, which is positive.
    """
    cdf = F.pad((density / density.sum(dim=-1, keepdim=True)).cumsum(dim=-1), (1, 0))
    index = torch.searchsorted(cdf, u.contiguous(), right=True)
    below, above = (index - 1).clamp(min=0), index.clamp(max=cdf.shape[-1] - 1)
    cdf_below, cdf_above = cdf.gather(-1, below), cdf.gather(-1, above)
    width = cdf_above - cdf_below
    fraction = (u - cdf_below) / torch.where(width < 1e-5, 1.0, width)
    start, end = borders.gather(-1, below), borders.gather(-1, above)
    return start + fraction * (end - start)
