"""Volume rendering: a field of points and a set of rays become colour, depth and opacity (3DGP §3.1, NeRF §5.2).

Legend: B batch, R rays, S coarse samples, F fine samples of a ray.
    s    position along a ray as a fraction: 0 at `t_near`, 1 at `t_far`
    t    the same in world units, t = t_near + s·(t_far − t_near); directions are unit vectors, so t is Euclidean
Two passes: S stratified positions, then F more where the first found something, drawn from its weights; both
are composited together in order of t. Positions carry no gradient, points o + t·d do.
The light that nothing stops is the business of `RenderConfig.last_interval` and `.background`.
A field that is made of tri-planes and a perceptron is rendered by one kernel where Triton runs (docs/kernels.md);
everything else here is its plain body.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import torch

from gp3d_core.config.schema import CameraConfig, RenderConfig
from gp3d_core.ops.accelerated import composite_rays, sample_importance
from gp3d_core.ops.backends import Backend, announce, runs_triton
from gp3d_core.ops.checks import check_shape
from gp3d_core.ops.reference import Perceptron, activate_density, cut_density, ray_weights

_MOST_STEPS = 64  # of a pass, in the fused renderer: all pairs of a ray's samples must fit on chip
_WIDEST = 128  # channels and hidden units that fit there

Field = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
"""A field takes world points [B,N,3] and returns rgb [B,N,3] and raw (not activated) density [B,N,1]."""


class Triplanes(NamedTuple):
    """A field that the fused renderer knows from inside: planes [B,3,C,H,W] over [-box, box]³ and what reads them."""

    planes: torch.Tensor
    perceptron: Perceptron
    box: float


@runtime_checkable
class HasTriplanes(Protocol):
    """A field that can be rendered without being asked for points."""

    def triplanes(self) -> Triplanes:
        """Its parts."""


class ShapeField(Protocol):
    """A batch of objects as a field that can be meshed."""

    @property
    def box(self) -> float:
        """Half an edge of the cube that they lie in."""

    @property
    def device(self) -> torch.device:
        """Where points have to be."""

    @property
    def texel(self) -> float:
        """The size of the smallest thing that the field can tell apart, in world units."""

    def __call__(self, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """rgb [B,N,3] and raw density [B,N,1] at points [B,N,3]."""

    def fast(self) -> Field:
        """The same of one object, without gradients, as fast as can be."""


_RAYS = 2**14  # of all images at a time


@dataclass(frozen=True, eq=False)
class Rendering:
    """What rays saw: rgb [B,R,3], depth [B,R,1] (world units along the ray), opacity [B,R,1].

    `weights` and `t` [B,R,S+F] are the compositing weights and the distances of the samples, nearest first.
    """

    rgb: torch.Tensor
    depth: torch.Tensor
    opacity: torch.Tensor
    weights: torch.Tensor
    t: torch.Tensor


@dataclass(frozen=True, eq=False)
class _Rays:
    """Rays and the random numbers that belong to them, all [B,R,...]; made before rays are split into chunks."""

    origins: torch.Tensor
    directions: torch.Tensor
    s_coarse: torch.Tensor
    u_fine: torch.Tensor
    noise: torch.Tensor | None

    def __getitem__(self, rays: slice) -> _Rays:
        noise = None if self.noise is None else self.noise[:, rays]
        return _Rays(
            self.origins[:, rays],
            self.directions[:, rays],
            self.s_coarse[:, rays],
            self.u_fine[:, rays],
            noise,
        )


def render(
    field: Field,
    rays_o: torch.Tensor,
    rays_d: torch.Tensor,
    camera: CameraConfig,
    config: RenderConfig,
    *,
    jitter: bool,
    density_noise: float = 0.0,
    generator: torch.Generator | None = None,
    cut_quantile: float = 0.0,
    u_coarse: torch.Tensor | None = None,
    u_fine: torch.Tensor | None = None,
    chunk: int | None = None,
    backend: Backend | None = None,
) -> Rendering:
    """Colour, depth and opacity of rays with origins and unit directions [B,R,3] through `field`.

    jitter: draw positions at random from `generator`; otherwise they are evenly spaced, in s and in probability.
    density_noise: standard deviation of normal noise on the raw density, drawn from `generator`.
    cut_quantile: densities below this quantile, over all rays and samples of a pass, count as 0.
    u_coarse [B,R,S] and u_fine [B,R,F], in [0,1]: the random numbers to use instead of drawing.
    chunk: rays per query of the field, to save memory (see `rays_at_a_time`); changes nothing but, for some, rounding.
    backend: plain torch or kernels; `config.backend` if not given.
    Raises ValueError when something has to be drawn and there is no generator, or when shapes do not fit, and
    BackendError when kernels are asked for that cannot run.
    """
    sizes = check_shape("rays_o", rays_o, "B R 3")
    check_shape("rays_d", rays_d, "B R 3", sizes)
    source = _required(generator) if jitter else None
    even = torch.linspace(0.0, 1.0, config.fine_steps, dtype=torch.float64)
    rays = _Rays(
        origins=rays_o,
        directions=rays_d,
        s_coarse=_coarse_positions(config.coarse_steps, u_coarse, rays_o, source),
        u_fine=_numbers("u_fine", u_fine, even, rays_o, source),
        noise=_density_noise(density_noise, config, rays_o, generator),
    )
    # a quantile is over all rays, so then only the queries are split
    group = chunk if cut_quantile == 0 else None
    slices = _slices(rays_o.shape[1], group)
    choice = backend or config.backend
    if isinstance(field, HasTriplanes) and runs_triton(rays_o, choice):
        triplanes = field.triplanes()
        obstacle = _fused_obstacle(triplanes, config, cut_quantile)
        if obstacle is None:
            return _render_fused(triplanes, rays, camera, config)
        announce(f"gp3d: rendering op by op, which takes more memory and time: {obstacle}")
    parts = [_render(field, rays[part], camera, config, cut_quantile, chunk, choice) for part in slices]
    if len(parts) == 1:
        return parts[0]
    names = ("rgb", "depth", "opacity", "weights", "t")
    return Rendering(*(torch.cat([getattr(part, name) for part in parts], dim=1) for name in names))


def points_on(rays_o: torch.Tensor, rays_d: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """Points [B,R,S,3] of rays at distances t [B,R,S]; ValueError when shapes do not fit."""
    sizes = check_shape("rays_o", rays_o, "B R 3")
    check_shape("rays_d", rays_d, "B R 3", sizes)
    check_shape("t", t, "B R S", sizes)
    return rays_o[:, :, None] + t[..., None] * rays_d[:, :, None]


def render_samples(
    rgb: torch.Tensor,
    raw: torch.Tensor,
    points: torch.Tensor,
    t: torch.Tensor,
    camera: CameraConfig,
    config: RenderConfig,
    *,
    backend: Backend | None = None,
) -> Rendering:
    """Colour, depth and opacity of rays from what a field answered at their `points_on` [B,R,S,3], nearest first.

    rgb [B,R,S,3]; raw densities and distances t [B,R,S]. backend: plain torch or kernels, `config.backend` by default.
    """
    sigma = _density(raw, points, camera, config)
    return _composite(rgb, sigma, t, camera, config, backend or config.backend)


def _fused_obstacle(triplanes: Triplanes, config: RenderConfig, cut_quantile: float) -> str | None:
    """Why the fused renderer cannot do it; None if it can."""
    if cut_quantile > 0:
        return "a quantile of the density needs all rays at once"
    if max(config.coarse_steps, config.fine_steps) > _MOST_STEPS:
        return f"a pass has more than {_MOST_STEPS} samples"
    if max(triplanes.perceptron.hidden_weight.shape) > _WIDEST:
        return f"the decoder is wider than {_WIDEST}"
    return None


def _render_fused(triplanes: Triplanes, rays: _Rays, camera: CameraConfig, config: RenderConfig) -> Rendering:
    """Both passes in one launch."""
    from gp3d_core.ops.triton.marching import Scene
    from gp3d_core.ops.triton.rendering import render_rays

    composite, t = render_rays(
        triplanes.planes,
        triplanes.perceptron,
        rays.origins,
        rays.directions,
        rays.s_coarse,
        rays.u_fine,
        rays.noise,
        Scene(
            near=camera.t_near,
            length=camera.t_far - camera.t_near,
            far=camera.t_far,
            box=triplanes.box,
            limit=camera.box,
            last_interval=config.last_interval,
            scale=config.density_scale,
            gain=config.density_gain,
            shift=config.density_shift,
        ),
        background=config.background,
        empty_outside=config.outside_box == "empty",
        metric=config.coarse_spacing == "metric",
    )
    return Rendering(*composite, t)


def _render(
    field: Field,
    rays: _Rays,
    camera: CameraConfig,
    config: RenderConfig,
    cut_quantile: float,
    chunk: int | None,
    backend: Backend,
) -> Rendering:
    """Both passes over the same rays."""
    near, length = camera.t_near, camera.t_far - camera.t_near
    steps = config.coarse_steps
    noise = (None, None) if rays.noise is None else (rays.noise[..., :steps], rays.noise[..., steps:])
    t = near + rays.s_coarse * length
    origins, directions = rays.origins, rays.directions
    rgb, sigma = _query(field, origins, directions, t, camera, config, noise[0], chunk)
    if config.fine_steps:
        guide = rays.s_coarse if config.coarse_spacing == "normalised" else t
        weights = ray_weights(_cut(sigma, cut_quantile), guide, last_interval=config.last_interval)
        s_fine = sample_importance(rays.s_coarse, weights, rays.u_fine, backend=backend)
        t_fine = near + s_fine * length
        rgb_fine, sigma_fine = _query(field, origins, directions, t_fine, camera, config, noise[1], chunk)
        t, order = torch.cat([t, t_fine], dim=-1).sort(dim=-1)
        sigma = torch.cat([sigma, sigma_fine], dim=-1).gather(-1, order)
        rgb = torch.cat([rgb, rgb_fine], dim=-2)
        rgb = rgb.gather(-2, order.unsqueeze(-1).expand_as(rgb))
    return _composite(rgb, _cut(sigma, cut_quantile), t, camera, config, backend)


def _composite(
    rgb: torch.Tensor,
    sigma: torch.Tensor,
    t: torch.Tensor,
    camera: CameraConfig,
    config: RenderConfig,
    backend: Backend,
) -> Rendering:
    """What rays see of colours [B,R,S,3] and densities [B,R,S] at distances t [B,R,S], nearest first."""
    composite = composite_rays(
        rgb,
        sigma,
        t,
        last_interval=config.last_interval,
        background=config.background,
        t_far=camera.t_far,
        backend=backend,
    )
    return Rendering(composite.rgb, composite.depth, composite.opacity, composite.weights, t)


def _query(
    field: Field,
    rays_o: torch.Tensor,
    rays_d: torch.Tensor,
    t: torch.Tensor,
    camera: CameraConfig,
    config: RenderConfig,
    noise: torch.Tensor | None = None,
    chunk: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Colours [B,R,S,3] and densities [B,R,S] at distances t [B,R,S], `chunk` rays at a time."""
    colours, densities = [], []
    for part in _slices(t.shape[1], chunk):
        points = points_on(rays_o[:, part], rays_d[:, part], t[:, part])
        rgb, raw = field(points.flatten(1, 2))
        colours.append(rgb.reshape(points.shape))
        raw = raw.reshape(points.shape[:-1])
        raw = raw if noise is None else raw + noise[:, part]
        densities.append(_density(raw, points, camera, config))
    return torch.cat(colours, dim=1), torch.cat(densities, dim=1)


def _density(
    raw: torch.Tensor, points: torch.Tensor, camera: CameraConfig, config: RenderConfig
) -> torch.Tensor:
    """Density [B,R,S] of raw ones at points [B,R,S,3]."""
    sigma = activate_density(
        raw, scale=config.density_scale, gain=config.density_gain, shift=config.density_shift
    )
    if config.outside_box == "empty":
        sigma = torch.where((points.abs() <= camera.box).all(dim=-1), sigma, 0.0)
    return sigma


def _cut(sigma: torch.Tensor, quantile: float) -> torch.Tensor:
    return sigma if quantile == 0 else cut_density(sigma, quantile)


def rays_at_a_time(images: int) -> int:
    """Rays of each of so many images to render at a time: memory grows neither with their number nor their size.

    2¹⁴ in all, and a power of two: matrix products of other sizes may round differently.
    """
    return 1 << max((_RAYS // images).bit_length() - 1, 0)


def _slices(count: int, size: int | None) -> Iterator[slice]:
    size = count if size is None else size
    if size < 1:
        raise ValueError(f"expected at least 1 ray, and at least 1 in a chunk, got {count} and {size}")
    return (slice(start, start + size) for start in range(0, count, size))


def _coarse_positions(
    steps: int, u: torch.Tensor | None, rays: torch.Tensor, source: torch.Generator | None
) -> torch.Tensor:
    """Positions s [B,R,S], one per stratum; the strata surround `steps` even positions from 0 to 1 inclusive."""
    even = torch.linspace(0.0, 1.0, steps, device=rays.device, dtype=rays.dtype)
    at_even = torch.full((steps,), 0.5)
    at_even[0], at_even[-1] = 0.0, 1.0
    return stratify(even, _numbers("u_coarse", u, at_even, rays, source))


def stratify(even: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
    """Positions [B,R,S] at `u` [B,R,S] in [0,1] of the strata around `even` positions [S], which may rise or fall."""
    # Strata end half-way between even positions, of which the first and the last are the ends of the ray. So the outer
    # strata are half as long and hold their position at their end: with equal strata instead, rendering without jitter
    # would leave out both ends.
    middles = 0.5 * (even[1:] + even[:-1])
    first, last = torch.cat([even[:1], middles]), torch.cat([middles, even[-1:]])
    return first + u * (last - first)


def _numbers(
    name: str,
    given: torch.Tensor | None,
    even: torch.Tensor,
    rays: torch.Tensor,
    source: torch.Generator | None,
) -> torch.Tensor:
    """Numbers [B,R,len(even)] in [0,1]: the given ones, else uniform from `source`, else `even` for every ray."""
    shape = (*rays.shape[:2], len(even))
    if given is not None:
        check_shape(name, given, " ".join(map(str, shape)))
        return given
    if source is None:
        return even.to(rays).expand(shape)
    return torch.rand(shape, generator=source, device=source.device).to(rays)


def _density_noise(
    std: float, config: RenderConfig, rays: torch.Tensor, generator: torch.Generator | None
) -> torch.Tensor | None:
    """Noise [B,R,S+F] of both passes, or None without noise."""
    if std == 0:
        return None
    source = _required(generator)
    shape = (*rays.shape[:2], config.coarse_steps + config.fine_steps)
    return std * torch.randn(shape, generator=source, device=source.device).to(rays)


def _required(generator: torch.Generator | None) -> torch.Generator:
    if generator is None:
        raise ValueError("random sampling (jitter or density noise) needs a generator; pass generator=…")
    return generator
