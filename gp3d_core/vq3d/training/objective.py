"""The losses of one step of stage 1, for the tokenizer and its critics, in every phase of a run.

Reconstruction, depth and VQ come first, then the critic of the input view, then novel views; at the end the encoder and
the codebook settle. Letters: B batch, R pixels a side of a picture, h of the window that losses see.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gp3d_core.rendering.patches import Patches, extract_patches, full_patch
from gp3d_core.training import losses
from gp3d_core.training.step import Log
from gp3d_core.vq3d.config import Vq3dConfig
from gp3d_core.vq3d.models.critic import Critics
from gp3d_core.vq3d.models.perception import feature_distance
from gp3d_core.vq3d.models.tokenizer import Encoding, Tokenizer
from gp3d_core.vq3d.rendering.depth import DepthSpace
from gp3d_core.vq3d.rendering.views import View, input_pose, to_radiance
from gp3d_core.vq3d.training.depth_losses import depth_loss
from gp3d_core.vq3d.training.novel_views import NovelView, sample_poses, warp

Lpips = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Pictures:
    """B training pictures: images [B,3,R,R] in [-1, 1] and target [B,R,R], normalised inverse depth, 1 near.

    `other` are true views of the same scenes from elsewhere, where the data have any.
    """

    images: Tensor
    target: Tensor
    other: NovelView | None = None


@dataclass(frozen=True)
class Phase:
    """What is trained at a fraction of the budget, and how far novel views turn by then, in degrees."""

    rounded: bool
    critic: bool
    novel: bool
    settled: bool
    yaw: float

    @staticmethod
    def at(config: Vq3dConfig, progress: float) -> Phase:
        """The phase at `progress` in [0, 1]."""
        settings, loss, camera = config.training, config.loss, config.camera
        matching = loss.perceptual == "features" and loss.perceptual_weight > 0
        ramp = min(progress / camera.yaw_ramp, 1.0) if camera.yaw_ramp > 0 else 1.0
        return Phase(
            rounded=progress >= config.codebook.round_from,
            critic=progress >= settings.critic_from and (loss.adversarial > 0 or matching),
            novel=progress >= settings.novel_from and max(loss.novel, loss.smooth, loss.view) > 0,
            settled=progress >= settings.settle_from,
            yaw=camera.yaw_start + (camera.yaw - camera.yaw_start) * ramp,
        )


@dataclass(frozen=True, eq=False)
class Fakes:
    """Real pictures, and what the tokenizer made, as critics see it, without gradients: [B,3 or 4,h,h] each.

    None for what no critic is asked about in this phase.
    """

    real: Tensor
    main: Tensor | None
    novel: Tensor | None


def sample_windows(config: Vq3dConfig, count: int, generator: torch.Generator) -> tuple[int, Patches]:
    """Pixels a side of the window that losses see, and `count` random windows on the pixel grid."""
    resolution, size = config.training.resolution, config.training.patch or config.training.resolution
    if size == resolution:
        return size, full_patch(count, generator.device)
    span = (size - 1) * config.training.stride  # from the first pixel to the last
    corner = torch.randint(resolution - span, (count, 2), generator=generator, device=generator.device)
    scale = torch.full((count, 2), span / (resolution - 1), device=generator.device)
    return size, Patches(scale, corner / (resolution - 1))


def tokenizer_phase(
    tokenizer: Tokenizer,
    critics: Critics,
    pictures: Pictures,
    phase: Phase,
    generator: torch.Generator,
    lpips: Lpips | None = None,
) -> tuple[Tensor, Log, Fakes, Encoding]:
    """The tokenizer's loss, numbers for the log, the critics' inputs, and the codes."""
    config, count = tokenizer.config, len(pictures.images)
    space = DepthSpace.of(config.camera)
    size, windows = sample_windows(config, count, generator)
    known = torch.cat([to_radiance(pictures.images), pictures.target[:, None]], dim=1)
    real = extract_patches(known, windows, size)

    def view_of(planes: Tensor, poses: Tensor) -> View:
        return tokenizer.render(planes, poses, resolution=size, patches=windows, generator=generator)

    with torch.set_grad_enabled(not phase.settled):
        encoding = tokenizer.encode(pictures.images, rounded=phase.rounded)
    planes = tokenizer.decode(encoding.quantised)
    view = view_of(planes, input_pose(count, real.device))
    terms = {"vq": encoding.loss} | _picture_terms(view, real, config, lpips)
    seen_real, seen = (
        critics.as_seen(*picture) for picture in ((real[:, :3], real[:, 3]), _look(view, space))
    )
    if phase.critic:
        terms |= _critic_terms(critics, seen, seen_real, config)
    novel = None
    if phase.novel:
        elsewhere = _novel_view(pictures, phase, config, generator)
        if config.critic.stop_encoder:
            planes = tokenizer.decode(encoding.quantised.detach())
        other = view_of(planes, elsewhere.poses)
        novel = critics.as_seen(*_look(other, space))
        if config.loss.novel > 0 or config.loss.smooth > 0:
            terms |= _novel_terms(critics, novel, space.normalise(other.disparity))
        if config.loss.view > 0:
            terms["view"] = _view_term(other, elsewhere, windows, config)
    loss = torch.stack([getattr(config.loss, name) * term for name, term in terms.items()]).sum()
    log = {f"loss/{name.removesuffix('_weight')}": term for name, term in terms.items()}
    log |= {"loss/tokenizer": loss, "psnr": -10 * terms["mse"].detach().clamp(min=1e-10).log10()}
    log["depth/ray_spread"] = view.spread.mean() / (space.high - space.low)
    fakes = Fakes(
        seen_real,
        seen.detach() if phase.critic else None,
        novel.detach() if novel is not None and config.loss.novel > 0 else None,
    )
    return loss, log, fakes, encoding


def _novel_view(
    pictures: Pictures, phase: Phase, config: Vq3dConfig, generator: torch.Generator
) -> NovelView:
    """Where novel views are taken from in this step, and what is known of them."""
    if config.loss.view_source == "true" and config.loss.view > 0:
        if pictures.other is None:
            raise ValueError("loss.view_source=true expects pictures with true views of their scenes")
        return pictures.other
    poses = sample_poses(pictures.target, phase.yaw, config.camera, generator)
    if config.loss.view == 0:
        return NovelView(poses)
    return warp(pictures.images, pictures.target, poses, config.camera)


def _view_term(view: View, truth: NovelView, windows: Patches, config: Vq3dConfig) -> Tensor:
    """How far a novel view is from what is `known` of it; mean over its known pixels.

    Colour and depth weigh as much against one another as in the input view.
    """
    if truth.rgb is None or truth.target is None or truth.known is None:
        raise ValueError("expected a novel view of which something is known")
    whole = torch.cat([truth.rgb, truth.target[:, None], truth.known[:, None]], dim=1)
    rgb, target, known = extract_patches(whole, windows, view.rgb.shape[-1]).split([3, 1, 1], dim=1)
    inverse = DepthSpace.of(config.camera).normalise(view.inverse)
    off_colour = (view.rgb - rgb).square().mean(dim=1).flatten(1)
    off_depth = (view.weights * (inverse - target.flatten(1)[..., None]).square()).sum(dim=-1)
    known = known.flatten(1)
    off = config.loss.mse * off_colour + config.loss.depth * off_depth
    return (off * known).sum() / known.sum().clamp(min=1)


def _look(view: View, space: DepthSpace) -> tuple[Tensor, Tensor]:
    """Colours and normalised disparity of a view."""
    return view.rgb, space.normalise(view.disparity)


def _picture_terms(view: View, real: Tensor, config: Vq3dConfig, lpips: Lpips | None) -> Log:
    """How far a view of the input camera is from its picture and depth, `real` [B,4,h,h]; by names of `LossConfig`."""
    rgb, target = real[:, :3], real[:, 3].flatten(1)
    inverse = DepthSpace.of(config.camera).normalise(view.inverse)
    terms = {
        "mse": (view.rgb - rgb).square().mean(),
        "l1": (view.rgb - rgb).abs().mean(),
        "depth": depth_loss(view.weights, inverse, target, config.depth),
    }
    return terms if lpips is None else terms | {"perceptual_weight": lpips(view.rgb, rgb)}


def _critic_terms(critics: Critics, seen: Tensor, seen_real: Tensor, config: Vq3dConfig) -> Log:
    """Adversarial loss of `seen` under the critic of the input view, and how far its features are from real ones."""
    output = critics(seen, novel=False)
    terms = {"adversarial": losses.generator_loss(output.logits, "softplus").mean()}
    if config.loss.perceptual == "features":
        with torch.no_grad():
            features = critics(seen_real, novel=False).features
        terms["perceptual_weight"] = feature_distance(output.features, features)
    return terms


def _novel_terms(critics: Critics, seen: Tensor, disparity: Tensor) -> Log:
    """What the critic of novel views says of `seen`, and how rough the `disparity` [B,h,h] is."""
    steps = (disparity.diff(dim=-1).abs().mean(), disparity.diff(dim=-2).abs().mean())
    logits = critics(seen, novel=True).logits
    return {"novel": losses.generator_loss(logits, "softplus").mean(), "smooth": steps[0] + steps[1]}


def critic_phase(critics: Critics, fakes: Fakes, *, r1_gamma: float) -> tuple[Tensor, Log]:
    """The critics' loss: logistic on real and fake pictures, and with `r1_gamma` above 0 R1 at the real."""
    loss, scores, log = fakes.real.new_zeros(()), [fakes.real.new_zeros(())], {}
    for novel, fake in ((False, fakes.main), (True, fakes.novel)):
        if fake is None:
            continue
        real = fakes.real.detach().requires_grad_(r1_gamma > 0)
        on_real, on_fake = critics(real, novel=novel).logits, critics(fake, novel=novel).logits
        loss = (
            loss + losses.real_loss(on_real, "softplus").mean() + losses.fake_loss(on_fake, "softplus").mean()
        )
        if r1_gamma > 0:
            penalty = losses.r1_penalty(on_real, real).mean()
            loss = loss + r1_gamma / 2 * penalty
            log["loss/r1_novel" if novel else "loss/r1_main"] = penalty
        name = "novel" if novel else "main"
        log |= {f"scores/{name}_real": on_real.mean(), f"scores/{name}_fake": on_fake.mean()}
        scores += [on_real.abs().max(), on_fake.abs().max()]
    return loss, log | {"loss/critic": loss, "scores/largest": torch.stack(scores).max()}


def learning_rate(lr: float, progress: float, *, warm_up: float, final: float) -> float:
    """`lr` rising over the first `warm_up` of the budget, then falling to `final` times itself along a cosine."""
    rise = min(progress / warm_up, 1.0) if warm_up > 0 else 1.0
    fall = final + (1 - final) * (1 + math.cos(math.pi * min(progress, 1.0))) / 2
    return lr * rise * fall
