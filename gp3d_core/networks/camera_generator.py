"""Camera generator (3DGP §3.2): from cameras of a rough prior to cameras that suit the data, and what keeps
it honest.

Nothing but regularisation stops the generator from mapping all priors to one camera; three regularisers are
offered, all in physical units (radians, degrees, world units). Parameters are in the flat order of
`cameras.PARAMETERS`. Letters: B batch, C classes, N samples of a regulariser.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

from gp3d_core.config.schema import CameraConfig, CameraGeneratorConfig
from gp3d_core.networks.layers import EqualisedLinear, normalise_second_moment
from gp3d_core.ops.constants import constant, index
from gp3d_core.rendering.cameras import (
    PARAMETERS,
    Cameras,
    denormalise_cameras,
    mean_parameters,
    normalise_cameras,
    sample_cameras,
)

LR_MULTIPLIER = 0.1
ORIGIN = [PARAMETERS.index(name) for name in ("yaw", "pitch", "roll", "radius")]
OTHERS = [PARAMETERS.index(name) for name in ("fov", "look_at_yaw", "look_at_pitch", "look_at_radius")]
GRADIENT_PENALTY_SAMPLES = 256
EMD_SAMPLES = 64
FORCE_MEAN_SAMPLES = 256


class ParameterNet(nn.Module):
    """Camera parameters [B,inputs] beside normalised embeddings of noise and class → four raw parameters
    [B,4].
    """

    def __init__(self, inputs: int, z_dim: int, c_dim: int, config: CameraGeneratorConfig) -> None:
        """`z_dim` or `c_dim` 0 leaves that embedding out."""
        super().__init__()

        def layer(width_in: int, width_out: int) -> EqualisedLinear:
            return EqualisedLinear(width_in, width_out, "softplus", lr_multiplier=LR_MULTIPLIER)

        self.embed_parameters = layer(inputs, config.width)
        self.embed_z = layer(z_dim, config.embed) if z_dim else None
        self.embed_c = layer(c_dim, config.embed) if c_dim else None
        embeddings = int(z_dim > 0) + int(c_dim > 0)
        self.hidden = layer(config.width + embeddings * config.embed, config.width)
        self.output = EqualisedLinear(config.width, 4, lr_multiplier=LR_MULTIPLIER)

    def forward(self, parameters: Tensor, z: Tensor, c: Tensor | None) -> Tensor:
        """Raw parameters, before any squashing."""
        parts = [self.embed_parameters(parameters)]
        if self.embed_z is not None:
            parts.append(normalise_second_moment(self.embed_z(z)))
        if self.embed_c is not None:
            parts.append(normalise_second_moment(self.embed_c(c)))
        return self.output(self.hidden(torch.cat(parts, dim=1)))


class CameraGenerator(nn.Module):
    """Prior cameras, z [B,z_dim] and c [B,C] → posterior cameras, parameter by parameter within the prior's
    range.

    Where the camera stands depends on the prior and the class; where it looks, and how wide, on everything.
    """

    def __init__(self, config: CameraGeneratorConfig, camera: CameraConfig, z_dim: int, c_dim: int) -> None:
        """Raises ValueError for an unknown name in `config.adjust`."""
        super().__init__()
        if unknown := set(config.adjust) - {"angles", "fov", "radius", "look_at"}:
            raise ValueError(
                f"camera_generator.adjust: expected angles, fov, radius, look_at; found {unknown}"
            )
        self.config, self.camera = config, camera
        self.z_dim, self.c_dim = z_dim, c_dim
        self.origin = ParameterNet(len(ORIGIN), 0, c_dim, config)
        self.look_at = ParameterNet(len(PARAMETERS), z_dim, c_dim, config)

    def raw(self, prior: Cameras, z: Tensor, c: Tensor | None) -> tuple[Tensor, Tensor]:
        """The normalised prior and the networks' raw outputs, both [B,8]."""
        normalised = normalise_cameras(prior, self.camera).flat()
        origin, others = (index(columns, normalised.device) for columns in (ORIGIN, OTHERS))
        raw = torch.empty_like(normalised)
        raw[:, origin] = self.origin(normalised[:, origin], z, c)
        seen = normalised.clone()
        seen[:, origin] = raw[:, origin]
        raw[:, others] = self.look_at(seen, z, c)
        return normalised, raw

    def forward(self, prior: Cameras, z: Tensor, c: Tensor | None) -> Cameras:
        """Posterior cameras; parameters outside `config.adjust` stay the prior's.

        In residual mode the networks' output is added to the normalised prior before the sigmoid, as
        released.
        """
        normalised, raw = self.raw(prior, z, c)
        raw = normalised + raw if self.config.residual else raw
        posterior = denormalise_cameras(
            Cameras.from_flat(raw), self.camera, look_at_low=self.config.look_at_low
        )
        kept = {field.name for field in dataclasses.fields(Cameras)} - set(self.config.adjust)
        return dataclasses.replace(posterior, **{name: getattr(prior, name) for name in kept})

    def regularisation(self, nimg: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Weighted loss terms by name, each a scalar, on fresh samples of z, class and prior from
        `generator`.
        """
        config, terms = self.config, {}
        if config.regulariser == "gradient_penalty":
            derivatives = self.derivatives(*self.sample_inputs(GRADIENT_PENALTY_SAMPLES, generator))
            terms["gradient_penalty"] = self.weigh(gradient_penalty(derivatives), nimg)
        elif config.regulariser == "emd":
            prior, z, c = self.sample_inputs(EMD_SAMPLES, generator)
            posterior = self(prior, z, c)
            terms["emd"] = self.weigh(earth_movers_distance(posterior.flat(), prior.flat()), nimg)
        if config.force_mean_weight:
            posterior = self(*self.sample_inputs(FORCE_MEAN_SAMPLES, generator))
            terms["force_mean"] = force_mean(posterior, self.camera) * config.force_mean_weight
        return terms

    def derivatives(self, prior: Cameras, z: Tensor, c: Tensor | None) -> Tensor:
        """How every posterior parameter follows the same parameter of its prior, ∂φ_i/∂φ'_i [B,8]."""
        flat = prior.flat().detach().requires_grad_()
        posterior = self(Cameras.from_flat(flat), z, c).flat()
        rows = [
            torch.autograd.grad(posterior[:, i].sum(), flat, create_graph=True)[0][:, i]
            for i in range(len(PARAMETERS))
        ]
        return torch.stack(rows, dim=1)

    def sample_inputs(self, count: int, generator: torch.Generator) -> tuple[Cameras, Tensor, Tensor | None]:
        """Priors, noise and classes (uniform) to evaluate a regulariser on."""
        device = generator.device
        prior = sample_cameras(self.camera, count, generator)
        z = torch.randn(count, self.z_dim, generator=generator, device=device)
        if not self.c_dim:
            return prior, z, None
        labels = torch.randint(self.c_dim, (count,), generator=generator, device=device)
        return prior, z, nn.functional.one_hot(labels, self.c_dim).float()

    def weigh(self, per_parameter: Tensor, nimg: int) -> Tensor:
        """Weighted sum of a regulariser's terms [8], ramped up over training; roll has no weight."""
        config = self.config
        weights = [config.angle_weight] * 2 + [0.0, config.fov_weight, config.radius_weight]
        weights += [config.look_at_weight] * 3
        return per_parameter @ constant(weights, per_parameter) * config.weight_ramp.at(nimg)


def gradient_penalty(derivatives: Tensor) -> Tensor:
    """mean(|g| + 1 / (|g| + 1e-4)) [P] over the samples of derivatives g [N,P] (3DGP Eq. 2).

    A posterior that ignores the prior has g = 0, one that jumps has a large g; |g| = 1 costs least.
    """
    size = derivatives.abs()
    return (size + 1.0 / (size + 1e-4)).mean(dim=0)


def earth_movers_distance(samples: Tensor, target: Tensor) -> Tensor:
    """Cost [P] of moving samples [N,P] onto the target [N,P], parameter by parameter, squared-distance ground
    cost.

    In one dimension the optimal plan keeps the order, so no solver is needed.
    """
    return (samples.sort(dim=0).values - target.sort(dim=0).values).square().mean(dim=0)


def force_mean(posterior: Cameras, camera: CameraConfig) -> Tensor:
    """Distance between the mean posterior angles and the prior's, ‖mean_n φ - φ̄ + 1e-8‖ (scalar)."""
    target = constant(mean_parameters(camera)[:3], posterior.angles)
    return torch.linalg.vector_norm(posterior.angles.mean(dim=0) - target + 1e-8)
