"""One step of grounding: the generator learns from known shapes, one latent per model, without a discriminator.

Three stages by the clock `nimg`, which counts objects: points alone (is it inside? which colour has the surface?),
rays of rendered views alone, then rays with a little of the points. Network and rendering operations are those of
3DGP, so that a grounded snapshot is an ordinary one. Several processes draw the same examples and take a part of them
each, so that their step is that of one process.
Letters: B objects of a step, Z numbers of a latent, n rays or points of each object, S samples of a ray.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gp3d_core.config.schema import RunConfig
from gp3d_core.distributed import World
from gp3d_core.grounding.descriptors import initial_latents
from gp3d_core.grounding.ground_truth import RayTruth, Truth
from gp3d_core.grounding.surfaces import SurfaceTruth
from gp3d_core.networks.decoder import TriplaneField
from gp3d_core.networks.generator import Generator
from gp3d_core.networks.latents import one_hot
from gp3d_core.networks.layers import normalise_second_moment
from gp3d_core.ops.reference import plane_by_plane
from gp3d_core.rendering.volume import Rendering, points_on, rays_at_a_time, render_samples
from gp3d_core.rng import generator_for
from gp3d_core.training.step import StepLog, TrainableState, average_weights, half_life, mean_log, send_log

_OPAQUE = 0.95  # opacity from which a rendered depth means a surface
_CLIP = 1.0  # norm of the gradients
_LAST_RATE = 0.05  # of the learning rate at the end of its cosine
_MAPPING_RATE = 10.0  # the mapping's layers carry a multiplier of 0.01, made for the adversarial game


@dataclass(eq=False)
class GroundState(TrainableState):
    """Everything that changes while grounding; a checkpoint holds exactly this."""

    config: RunConfig
    generator: Generator
    ema: Generator
    latents: nn.Embedding  # z of every model [M,z_dim]
    optimizer: torch.optim.Adam
    latent_optimizer: torch.optim.SparseAdam

    def __post_init__(self) -> None:
        """Name the parts as checkpoints name them."""
        self.modules = {"generator": self.generator, "ema": self.ema, "latents": self.latents}
        self.optimizers = {"optimizer": self.optimizer, "latent_optimizer": self.latent_optimizer}


def build_ground_state(config: RunConfig, truth: Truth) -> GroundState:
    """A fresh run on the truth's device: new weights, latents from the shapes' principal components."""
    settings, device = config.training, truth.labels.device
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        generator = Generator(config, len(truth.classes))
    generator.to(device).to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    start = initial_latents(truth, config.generator.z_dim, config.grounding.latent_dims)
    latents = nn.Embedding.from_pretrained(start.to(device), freeze=False, sparse=True)
    mapping = list(generator.mapping.network.layers.parameters())
    ours = {id(p) for p in mapping}
    others = [
        p for part in (generator.mapping, generator.backbone, generator.decoder) for p in part.parameters()
    ]
    rate = settings.generator_lr
    groups = [
        {"params": mapping, "lr": rate * _MAPPING_RATE, "rate": rate * _MAPPING_RATE},
        {"params": [p for p in others if id(p) not in ours], "lr": rate, "rate": rate},
    ]
    return GroundState(
        config=config,
        generator=generator,
        ema=copy.deepcopy(generator).eval().requires_grad_(False),
        latents=latents,
        optimizer=torch.optim.Adam(groups, betas=(0.9, 0.99)),
        latent_optimizer=torch.optim.SparseAdam(latents.parameters(), lr=config.grounding.latent_lr),
    )


@dataclass(frozen=True, eq=False)
class Examples:
    """What a step learns from, with all that is random about it.

    models [B]; noise [B,Z] on their latents; points [B,n,3] and whether they lie inside [B,n,1]; surface points with
    their colours, and jitter [B,n,1], distances from them along the normal (or from the rays' surfaces along the rays)
    at which colour is learnt; rays of one view of each; t [B,n,S], distances along the rays.
    """

    models: Tensor
    noise: Tensor
    points: Tensor | None
    inside: Tensor | None
    surface: SurfaceTruth | None
    jitter: Tensor | None
    rays: RayTruth
    t: Tensor | None

    def __getitem__(self, rows: slice) -> Examples:
        """The examples of the objects `rows`."""
        return Examples(*(None if part is None else part[rows] for part in vars(self).values()))  # type: ignore[arg-type]


def ground_step(state: GroundState, truth: Truth, models: Tensor, world: World) -> StepLog:
    """The losses of one step on the `models` [B] of all processes; advances the clock by B.

    Updates are not skipped when gradients are not finite, as their optimisers are not fused; the norm of the gradients
    is in the log, and tells.
    """
    config, done = state.config, state.nimg / (1000 * state.config.training.kimg)
    settings = config.grounding
    _set_rates(state, done)
    examples = draw_examples(state, truth, models, done)[world.part_of(len(models))]
    field_ = state.generator.field(_planes(state, truth, examples))
    losses = all_losses(field_, examples, config, world)
    beside = 1.0 if examples.t is None else settings.point_weight
    weight = {name: 1.0 if name.startswith("rays") else beside for name in losses}
    total = torch.stack([weight[name] * value for name, value in losses.items()]).sum()
    total.backward()
    _average_gradients(state, models, world)
    norm = torch.nn.utils.clip_grad_norm_(state.generator.parameters(), _CLIP)
    for optimizer in state.optimizers.values():
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    state.nimg += len(models)
    average_weights(state.ema, state.generator, len(models), half_life(config.training, state.nimg))
    numbers = mean_log([losses | {"total": total, "gradients/norm": norm}], world)
    return send_log(numbers, torch.zeros_like(numbers["total"]), state.nimg, {})


def draw_examples(state: GroundState, truth: Truth, models: Tensor, done: float) -> Examples:
    """The examples of the `models` [B] after a share `done` of the run; the same on every process."""
    config, device = state.config, models.device
    settings = config.grounding
    # a run that went back draws other numbers; one that never did, the same as before there was a way back
    again = [state.rollbacks] if state.rollbacks else []
    draws = generator_for(config.training.seed, "grounding", state.nimg, *again, device=device)
    rays = truth.sample_rays(_trained_views(truth, models, settings.held_out, draws), settings.rays, draws)
    noise = torch.randn(len(models), config.generator.z_dim, generator=draws, device=device)
    points = inside = surface = jitter = t = None
    alone = done < settings.point_share
    if alone or done >= settings.point_share + settings.ray_share:
        points, inside = truth.sample_points(models, settings.points, draws)
        if truth.surface is not None and settings.surface_points:
            surface = truth.surface.sample(models, settings.surface_points, draws)
        coloured = rays.depth.shape if surface is None else (*surface.rgb.shape[:2], 1)
        jitter = torch.randn(coloured, generator=draws, device=device) * settings.colour_jitter
    if not alone:
        t = _sample_distances(rays, config, draws)
    return Examples(models, noise, points, inside, surface, jitter, rays, t)


def _average_gradients(state: GroundState, models: Tensor, world: World) -> None:
    """Replaces the gradients by their means over processes; each has those of the latents of its part of `models`."""
    if world.size == 1:
        return
    table = state.latents.weight
    ours = table.grad
    if ours is None:
        raise RuntimeError("expected gradients of the latents")
    rows = torch.zeros(len(models), table.shape[1], device=table.device)
    rows[world.part_of(len(models))] = ours._values()  # in the order in which the latents were looked up
    world.mean_([rows, *(p.grad for p in state.generator.parameters() if p.grad is not None)])
    table.grad = torch.sparse_coo_tensor(models[None], rows, table.shape)


def all_losses(
    field_: TriplaneField, examples: Examples, config: RunConfig, world: World
) -> dict[str, Tensor]:
    """The losses of all that there is among the examples, from one look at the field."""
    asked: list[Tensor] = []
    seen = examples.rays
    if examples.points is not None:
        asked += [examples.points, _coloured(examples)[0]]
    along = None if examples.t is None else points_on(seen.rays_o, seen.rays_d, examples.t)
    if along is not None:
        asked.append(along.flatten(1, 2))
    rgb, raw = field_(torch.cat(asked, dim=1))
    losses: dict[str, Tensor] = {}
    if examples.points is not None:
        count = asked[0].shape[1] + asked[1].shape[1]
        losses |= point_losses(rgb[:, :count], raw[:, :count], examples, config, world)
        rgb, raw = rgb[:, count:], raw[:, count:]
    if along is not None and examples.t is not None:
        t = examples.t
        ray = render_samples(
            rgb.reshape(along.shape), raw.reshape(t.shape), along, t, config.camera, config.render
        )
        losses |= ray_losses(ray, seen, world)
    return losses


def point_losses(
    rgb: Tensor, raw: Tensor, examples: Examples, config: RunConfig, world: World
) -> dict[str, Tensor]:
    """Occupancy at the points as cross-entropy, and the colour of surfaces (L1): of points on them where there
    are such, else of what the rays have hit. rgb and raw [B,n,·]: the field at the points, then where colour is learnt.

    With density_scale = 1/δ the opacity of a step δ is sigmoid(gain · raw + shift), which is what is compared.
    """
    if examples.points is None or examples.inside is None:
        raise ValueError("expected examples with points")
    count = examples.points.shape[1]
    _, target, seen = _coloured(examples)
    logits = config.render.density_gain * raw[:, :count] + config.render.density_shift
    error = F.binary_cross_entropy_with_logits(logits, examples.inside, reduction="none")
    colour = (seen * (rgb[:, count:] - target).abs()).sum() / (3 * _count(seen, world))
    losses = {"points/occupancy": error.mean(), "points/colour": colour}
    if config.grounding.free_weight:
        anywhere, empty = error[:, count // 2 :], 1.0 - examples.inside[:, count // 2 :]
        losses["points/free"] = config.grounding.free_weight * (anywhere * empty).mean()
    return losses


def _coloured(examples: Examples) -> tuple[Tensor, Tensor, Tensor]:
    """Points at which colour is learnt [B,n,3], their colours in [-1,1] and which of them count [B,n,1]."""
    if examples.jitter is None:
        raise ValueError("expected examples with points")
    if (surface := examples.surface) is not None:
        where = surface.positions + examples.jitter * surface.normals
        return where, surface.rgb, torch.ones_like(examples.jitter)
    rays = examples.rays
    return rays.rays_o + (rays.depth + examples.jitter) * rays.rays_d, rays.rgb, rays.hit


def ray_losses(ray: Rendering, seen: RayTruth, world: World) -> dict[str, Tensor]:
    """L1 of colour, opacity and (where a surface is seen and rendered) depth of rays."""
    solid = seen.hit * (ray.opacity.detach() > _OPAQUE)
    depth = (solid * (ray.depth - seen.depth).abs()).sum() / _count(solid, world)
    return {
        "rays/colour": (ray.rgb - seen.rgb).abs().mean(),
        "rays/opacity": (ray.opacity - seen.hit).abs().mean(),
        "rays/depth": 2.0 * depth,
    }


def _count(mask: Tensor, world: World) -> Tensor:
    """Ones in `mask`, mean over processes: sums over it become shares whose mean is the mean over all examples."""
    count = mask.sum()
    world.mean_([count])
    return count.clamp(min=1.0 / world.size)


def _sample_distances(seen: RayTruth, config: RunConfig, draws: torch.Generator) -> Tensor:
    """Increasing distances [B,n,S]: stratified between near and far, and around the true depth where there is one."""
    camera, settings = config.camera, config.grounding
    length, shape = camera.t_far - camera.t_near, seen.depth.shape[:2]
    device = draws.device
    strata = torch.arange(settings.ray_steps, device=device)
    u = torch.rand(*shape, settings.ray_steps, generator=draws, device=device)
    even = camera.t_near + (strata + u) / settings.ray_steps * length
    spread = torch.randn(*shape, settings.surface_steps, generator=draws, device=device)
    anywhere = camera.t_near + length * torch.rand(
        *shape, settings.surface_steps, generator=draws, device=device
    )
    near_surface = (seen.depth + settings.surface_spread * spread).clamp(camera.t_near, camera.t_far)
    extra = torch.where(seen.hit > 0, near_surface, anywhere)
    return torch.cat([even, extra], dim=-1).sort(dim=-1).values


def _planes(state: GroundState, truth: Truth, examples: Examples) -> Tensor:
    """Tri-planes of the examples with noise on their latents; half precision in the convolutions if mixed."""
    config, models = state.config, examples.models
    s = config.grounding.latent_noise
    z = normalise_second_moment(state.latents(models))
    ws = state.generator.mapping(
        math.sqrt(1 - s * s) * z + s * examples.noise, one_hot(truth.labels[models], len(truth.classes))
    )
    mixed = config.training.precision == "mixed"
    with torch.autocast(ws.device.type, torch.bfloat16, enabled=mixed):
        planes = state.generator.backbone(ws, config.grounding.noise_maps)
    return plane_by_plane(planes)


def _trained_views(truth: Truth, models: Tensor, held_out: int, draws: torch.Generator) -> Tensor:
    """A view [B] of each of the `models` [B], never the last one of those that are held out."""
    count = truth.views.shape[1]
    sides = torch.full_like(models, count)
    if count > 1:
        sides -= truth.is_held_out(models, held_out).long()
    u = torch.rand(len(models), generator=draws, device=draws.device)
    return truth.views[models, (u * sides).long()]


def _set_rates(state: GroundState, done: float) -> None:
    """Learning rates after a share `done` of the run: a cosine down to a twentieth."""
    cosine = _LAST_RATE + (1 - _LAST_RATE) * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
    for group in state.optimizer.param_groups:
        group["lr"] = group["rate"] * cosine
    for group in state.latent_optimizer.param_groups:
        group["lr"] = state.config.grounding.latent_lr * cosine


@torch.no_grad()
def codes_of_models(state: GroundState, truth: Truth, models: Tensor) -> Tensor:
    """Style codes ws [B,L,D] of the `models` [B] as learnt, without noise, by the averaged generator."""
    z = normalise_second_moment(state.latents(models))
    return state.ema.mapping(z, one_hot(truth.labels[models], len(truth.classes)))


@torch.no_grad()
def measure(state: GroundState, truth: Truth) -> dict[str, float]:
    """How well the held-out views (PSNR in dB, depth error) and points (IoU) of trained models are predicted."""
    config, models = state.config, truth.held_out(state.config.grounding.held_out)
    squared, depth_error, solid, both, either = [], 0.0, 0.0, [], []
    for part in models.split(16):
        codes = codes_of_models(state, truth, part)
        planes = state.ema.planes(codes)
        views = truth.views[part, -1]
        seen = truth.whole_view(views)
        out = state.ema.view(
            codes,
            truth.cameras[views],
            planes=planes,
            chunk=rays_at_a_time(len(part)),
        )
        rgb, depth, opacity = (x.flatten(2).transpose(1, 2) for x in (out.rgb, out.depth, out.opacity))
        squared.append((((rgb.clamp(-1, 1) - seen.rgb) / 2) ** 2).mean(dim=(1, 2)))
        agreed = seen.hit * (opacity > _OPAQUE)
        depth_error += float((agreed * (depth - seen.depth).abs()).sum())
        solid += float(agreed.sum())
        points, inside = truth.measuring_points(part)
        raw = state.ema.field(planes)(points)[1]
        guess = config.render.density_gain * raw + config.render.density_shift > 0
        both.append((guess & (inside > 0)).sum(dim=(1, 2)))
        either.append((guess | (inside > 0)).sum(dim=(1, 2)))
    psnr = -10 * torch.log10(torch.cat(squared).clamp(min=1e-10))
    iou = torch.cat(both) / torch.cat(either).clamp(min=1)
    return {
        "held_out/psnr": float(psnr.mean()),
        "held_out/iou": float(iou.mean()),
        "held_out/depth_error": depth_error / max(solid, 1.0),
    }
