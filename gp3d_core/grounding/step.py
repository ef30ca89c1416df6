"""Grounding: the generator learns from known shapes, one latent per model, before it ever meets a discriminator.

Three stages by the clock `nimg`, which counts objects: points alone (is it inside? which colour has the surface?),
rays of rendered views alone, then rays with a little of the points. Network and rendering operations are those of
3DGP, so that a grounded snapshot is an ordinary one. Afterwards `prior.fit_mapping` teaches the mapping that
z ~ N(0, I) with a class means objects like these. A run that was stopped and resumed equals one that never stopped.
Letters: B objects of a step, n rays or points of each, S samples of a ray.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gp3d_core.config.schema import RunConfig
from gp3d_core.grounding.descriptors import initial_latents
from gp3d_core.grounding.ground_truth import RayTruth, Truth
from gp3d_core.networks.decoder import TriplaneField
from gp3d_core.networks.generator import Generator
from gp3d_core.networks.latents import one_hot
from gp3d_core.networks.layers import normalise_second_moment
from gp3d_core.ops.reference import activate_density, composite_rays
from gp3d_core.rng import generator_for
from gp3d_core.snapshots.run_folder import RunFolder
from gp3d_core.snapshots.snapshot import load_checkpoint, save_checkpoint
from gp3d_core.training.step import average_weights

_OPAQUE = 0.95  # opacity from which a rendered depth means a surface
_COLOUR_JITTER = 0.01  # world units along the ray within which a surface's colour is learnt
_CLIP = 1.0  # norm of the gradients
_LAST_RATE = 0.05  # of the learning rate at the end of its cosine
_MAPPING_RATE = 10.0  # the mapping's layers carry a multiplier of 0.01, made for the adversarial game


@dataclass(eq=False)
class GroundState:
    """Everything that changes while grounding; a checkpoint holds exactly this."""

    config: RunConfig
    generator: Generator
    ema: Generator
    latents: nn.Embedding  # z of every model [M,z_dim]
    optimizer: torch.optim.Adam
    latent_optimizer: torch.optim.SparseAdam
    nimg: int = 0
    seconds: float = 0.0
    modules: dict[str, nn.Module] = field(init=False)
    optimizers: dict[str, torch.optim.Optimizer] = field(init=False)

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


def ground_step(state: GroundState, truth: Truth, models: Tensor) -> dict[str, Tensor]:
    """One step on the `models` [B]; advances the clock by B. Returns the losses, and 0-dim tensors all."""
    config, device = state.config, models.device
    settings, done = config.grounding, state.nimg / (1000 * config.training.kimg)
    draws = generator_for(config.training.seed, "grounding", state.nimg, device=device)
    _set_rates(state, done)

    seen = truth.sample_rays(_trained_views(truth, models, settings.held_out, draws), settings.rays, draws)
    planes = _planes(state, truth, models, draws)
    field_ = state.generator.field(planes)
    losses: dict[str, Tensor] = {}
    alone = done < settings.point_share
    if alone or done >= settings.point_share + settings.ray_share:
        points, inside = truth.sample_points(models, settings.points, draws)
        losses |= point_losses(field_, points, inside, seen, config, draws)
    if not alone:
        losses |= ray_losses(field_, seen, config, draws)
    weight = {name: 1.0 if alone or name.startswith("rays") else settings.point_weight for name in losses}
    total = torch.stack([weight[name] * value for name, value in losses.items()]).sum()
    total.backward()
    torch.nn.utils.clip_grad_norm_(state.generator.parameters(), _CLIP)
    for optimizer in state.optimizers.values():
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    state.nimg += len(models)
    average_weights(
        state.ema,
        state.generator,
        len(models),
        1000 * min(config.training.ema_kimg, config.training.ema_rampup * state.nimg / 1000),
    )
    return {name: value.detach() for name, value in losses.items()} | {"total": total.detach()}


def point_losses(
    field_: TriplaneField,
    points: Tensor,
    inside: Tensor,
    seen: RayTruth,
    config: RunConfig,
    draws: torch.Generator,
) -> dict[str, Tensor]:
    """Occupancy at `points` [B,n,3] as cross-entropy, and the colour of the surfaces that rays have hit (L1).

    With density_scale = 1/δ the opacity of a step δ is sigmoid(gain · raw + shift), which is what is compared.
    """
    settings = config.render
    _, raw = field_(points)
    occupancy = F.binary_cross_entropy_with_logits(
        settings.density_gain * raw + settings.density_shift, inside
    )
    jitter = torch.randn(seen.depth.shape, generator=draws, device=draws.device) * _COLOUR_JITTER
    rgb, _ = field_(seen.rays_o + (seen.depth + jitter) * seen.rays_d)
    colour = (seen.hit * (rgb - seen.rgb).abs()).sum() / (3 * seen.hit.sum().clamp(min=1.0))
    return {"points/occupancy": occupancy, "points/colour": colour}


def ray_losses(
    field_: TriplaneField, seen: RayTruth, config: RunConfig, draws: torch.Generator
) -> dict[str, Tensor]:
    """L1 of colour, opacity and (where a surface is seen and rendered) depth of rays."""
    camera = config.camera
    t = _sample_distances(seen, config, draws)
    points = seen.rays_o[:, :, None] + t[..., None] * seen.rays_d[:, :, None]
    rgb, raw = field_(points.flatten(1, 2))
    render = config.render
    sigma = activate_density(
        raw.reshape(t.shape), scale=render.density_scale, gain=render.density_gain, shift=render.density_shift
    )
    if render.outside_box == "empty":
        sigma = torch.where((points.abs() <= camera.box).all(dim=-1), sigma, 0.0)
    ray = composite_rays(
        rgb.reshape(points.shape),
        sigma,
        t,
        last_interval=render.last_interval,
        background=render.background,
        t_far=camera.t_far,
    )
    solid = seen.hit * (ray.opacity.detach() > _OPAQUE)
    depth = (solid * (ray.depth - seen.depth).abs()).sum() / solid.sum().clamp(min=1.0)
    return {
        "rays/colour": (ray.rgb - seen.rgb).abs().mean(),
        "rays/opacity": (ray.opacity - seen.hit).abs().mean(),
        "rays/depth": 2.0 * depth,
    }


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


def _planes(state: GroundState, truth: Truth, models: Tensor, draws: torch.Generator) -> Tensor:
    """Tri-planes of the `models` [B] with noise on their latents; half precision in the convolutions if mixed."""
    s = state.config.grounding.latent_noise
    z = normalise_second_moment(state.latents(models))
    noise = torch.randn(z.shape, generator=draws, device=z.device)
    ws = state.generator.mapping(
        math.sqrt(1 - s * s) * z + s * noise, one_hot(truth.labels[models], len(truth.classes))
    )
    mixed = state.config.training.precision == "mixed"
    with torch.autocast(ws.device.type, torch.bfloat16, enabled=mixed):
        planes = state.generator.backbone(ws, "const")
    return planes.float()


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
        planes = state.ema.planes(codes_of_models(state, truth, part))
        views = truth.views[part, -1]
        seen = truth.whole_view(views)
        out = state.ema.view(
            codes_of_models(state, truth, part), truth.cameras[views], planes=planes, chunk=4096
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


def write_ground_checkpoint(state: GroundState, folder: RunFolder) -> None:
    """Saves all of `state`, then forgets all but the newest checkpoints."""
    facts = {"nimg": state.nimg, "seconds": state.seconds}
    save_checkpoint(folder.checkpoint_path(state.nimg), state.modules, state.optimizers, facts)
    folder.forget_old_checkpoints()


def restore_ground(state: GroundState, folder: RunFolder) -> None:
    """Loads the newest checkpoint into `state`; saves one of the start if there is none."""
    found = folder.list_checkpoints()
    if not found:
        write_ground_checkpoint(state, folder)
        return
    facts = load_checkpoint(found[0], state.modules, state.optimizers)
    state.nimg, state.seconds = int(facts["nimg"]), float(facts["seconds"])
    folder.forget_stats_after(state.nimg)
