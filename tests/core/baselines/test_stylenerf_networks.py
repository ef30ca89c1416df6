"""StyleNeRF's networks against recorded tensors of its release, and what must hold for any weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from gp3d_core.baselines.stylenerf.discriminator import GrowingDiscriminator
from gp3d_core.baselines.stylenerf.fields import Background, Foreground
from gp3d_core.baselines.stylenerf.path_regularisation import cell_pixels, path_loss
from gp3d_core.baselines.stylenerf.rendering import (
    Draws,
    Seen,
    depth_rays,
    render,
    sphere_points,
)
from gp3d_core.baselines.stylenerf.upsampler import Upsampler, growth
from gp3d_core.config.schema import COLOURS
from gp3d_core.networks.mapping import Mapping
from gp3d_core.rendering.cameras import Cameras, cam2world
from gp3d_core.rendering.volume import stratify
from tests.core.baselines.comparing import (
    check_gradient,
    check_gradients,
    check_norms,
    check_positions,
    check_to_rounding,
    fill,
    nudged,
)
from tests.core.parity.kinks import either_side_of_kinks
from tests.core.parity.parity_fixtures import Case, Close
from tests.core.parity.parity_names import Names

SHARE = 1e-2  # of a gradient: octaves up to 2⁹·π make rounding large
PATH_WEIGHT = 2.0
VARIANTS = ["full", "fade", "start"]

# their world in axes of ours: x' = z, y' = x, z' = y
TO_THEIRS = torch.tensor([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


def layer_of(match: str) -> str:
    return "layers.0" if match == "fc_in" else f"layers.{int(match.removeprefix('blocks.')) + 1}"


def generator_names(lowest: int) -> Names:
    """Of a generator whose rendered map has `lowest` pixels along an edge."""
    return Names(
        (
            (r"^mapping\.embed\.", "mapping.network.embed."),
            (r"^mapping\.fc(\d+)\.", r"mapping.network.layers.\1."),
            (r"^(synthesis\.)?alpha$", "resample_filter"),
            (r"^synthesis\.", ""),
            (r"^fg_nerf\.", "foreground."),
            (r"^bg_nerf\.", "background."),
            (r"^(\wo?\w+ground)\.(fc_in|blocks\.\d+)\.", lambda m: f"{m[1]}.{layer_of(m[2])}."),
            (r"^(\w+ground)\.sigma_out\.", r"\1.density."),
            (r"^(\w+ground)\.feat_out\.", r"\1.features."),
            (r"^(foreground\.(?!to_rgb).*)\.affine\.", r"\1.conv.style."),
            (r"^(foreground\.(?!to_rgb).*)\.weight$", r"\1.conv.weight"),
            (r"conv\.style\.conv\.weight$", "conv.style.weight"),
            (r"^b(\d+)\.", lambda m: f"upsampler.blocks.{(int(m[1]) // lowest).bit_length() - 2}."),
            (r"\.torgb\.affine\.", ".to_rgb.conv.style."),
            (r"\.torgb\.weight$", ".to_rgb.conv.weight"),
            (r"\.torgb\.", ".to_rgb."),
            (r"(upsampler.*\.conv\d)\.w_avg$", r"\1.magnitude"),
            (r"(upsampler.*\.conv\d)\.adapter\.0\.", r"\1.doubling.inner."),
            (r"(upsampler.*\.conv\d)\.adapter\.1\.", r"\1.doubling.outer."),
            (r"(upsampler.*\.conv\d)\.affine\.", r"\1.layer.conv.style."),
            (r"(upsampler.*\.conv\d)\.weight$", r"\1.layer.conv.weight"),
            (r"(upsampler.*\.conv\d)\.bias$", r"\1.layer.bias"),
        )
    )


class Recorded(nn.Module):
    """The recorded generator, of the sizes that its case tells."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        facts = case.meta
        self.case, self.lowest = case, facts["volume_resolution"]
        self.names = generator_names(self.lowest)
        w_dim, fg, bg = facts["w_dim"], facts["fg"], facts["bg"]
        self.levels = (facts["resolution"] // self.lowest).bit_length() - 1
        biases = [case[f"param:synthesis.b{self.lowest << k}.conv1.bias"] for k in range(1, self.levels + 1)]
        self.foreground = Foreground(fg["width"], fg["layers"], fg["features"], w_dim)
        self.background = Background(bg["width"], bg["layers"], fg["features"], bg["noise"])
        self.upsampler = Upsampler(fg["features"], [len(bias) for bias in biases], w_dim)
        self.mapping = Mapping(
            facts["z_dim"],
            facts["c_dim"],
            w_dim,
            facts["num_ws"],
            facts["mapping_layers"],
            average_decay=0.995,
        )
        assert facts["num_ws"] == self.foreground.num_ws + self.upsampler.num_ws
        fill(self, self.shaped(case.under("param:")), Names(()))

    def shaped(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Recorded tensors under our names and of our shapes; those of constants are left out."""
        shapes = {name: value.shape for name, value in self.state_dict().items()}
        renamed = self.names.ours(tensors)
        return {name: value.reshape(shapes.get(name, value.shape)) for name, value in renamed.items()}

    def draws(self, rays: int, training: Case | None = None) -> Draws:
        facts = self.case.meta
        near, far = facts["camera"]["depth_range"]
        even = torch.linspace(near, far, facts["samples"])
        radii = torch.linspace(facts["camera"]["bg_start"], 0.0, facts["background_samples"])
        count = len(self.case["z"])
        if training is None:
            numbers = torch.linspace(0.0, 1.0, facts["samples"])
            return Draws(*(line.expand(count, rays, -1) for line in (even, numbers, radii)))
        return Draws(
            stratify(even, training["draw.u_coarse"]),
            training["draw.u_fine"].view(count, rays, -1),
            stratify(radii, training["draw.u_background"]),
            torch.cat([training["draw.density_noise_coarse"], training["draw.density_noise_fine"]], dim=-1),
            training["draw.density_noise_background"],
        )

    def at(self, t: Tensor) -> Draws:
        """Of recorded depths of all samples of the foreground [B,R,S], and even ones of the background."""
        even = self.draws(t.shape[1])
        return Draws(t, t[..., :0], even.inverse_radius)

    def render(self, ws: Tensor, rays_o: Tensor, rays_d: Tensor, draws: Draws) -> Seen:
        noise = self.case["background_noise"]
        return render(
            lambda points: self.foreground(points, ws),
            lambda points: self.background(points, noise),
            rays_o,
            rays_d,
            draws,
        )

    def low(self, composite: Tensor) -> Tensor:
        return composite.unflatten(2, (self.lowest, self.lowest))


def rays_of(cameras: Cameras, resolution: int) -> tuple[Tensor, Tensor]:
    """Rays of pictures whose field of view ends at the edges of the outer pixels."""
    tangent = torch.tan(torch.deg2rad(cameras.fov) / 2) * (1 - 1 / resolution)
    return depth_rays(replace(cameras, fov=torch.rad2deg(2 * torch.atan(tangent))), resolution)


def recorded_directions(case: Case, resolution: int) -> Tensor:
    """Directions [B,h²,3] by the recorded matrices: octaves enlarge what a detour over angles rounds."""
    centres = (2.0 * torch.arange(resolution) + 1.0) / resolution - 1.0
    y, x = torch.meshgrid(-centres, centres, indexing="ij")
    in_camera = torch.stack([x, y, -torch.ones_like(x)], dim=-1).view(1, -1, 3)
    scales = case["camera_matrix"][:, :3, :3].diagonal(dim1=1, dim2=2)[:, None]
    return (in_camera * scales) @ case["cam2world"][:, :3, :3].transpose(1, 2)


@pytest.fixture
def case(recorded: Callable[[str], Case]) -> Case:
    return recorded("stylenerf_generator")


@pytest.fixture
def generator(case: Case) -> Recorded:
    return Recorded(case).eval()


def condition(tensor: Tensor) -> Tensor | None:
    """A recorded class; those of width 0 stand for none."""
    return tensor if tensor.shape[1] else None


def recorded_cameras(case: Case) -> Cameras:
    """The recorded angles as cameras of ours."""
    facts = case.meta["camera"]
    (low_u, high_u), (low_v, high_v) = facts["range_u"], facts["range_v"]
    u = (low_u + high_u) / 2 + (high_u - low_u) / 2 * case["camera_uv"][:, 0]
    v = (low_v + high_v) / 2 + (high_v - low_v) / 2 * case["camera_uv"][:, 1]
    ones = torch.ones_like(u)
    radius = ones * facts["range_radius"][0]
    return Cameras(torch.stack([-u, v, 0.0 * u], dim=1), ones * facts["fov"], radius, torch.zeros(len(u), 3))


def test_cameras_and_rays_of_ours_are_the_recorded_ones_turned(case: Case, close: Close) -> None:
    cameras = recorded_cameras(case)
    pose = cam2world(cameras)
    close(TO_THEIRS @ pose[:, :3, :3], case["cam2world"][:, :3, :3], "exact32")
    close(pose[:, :3, 3] @ TO_THEIRS.T, case["cam2world"][:, :3, 3], "exact32")
    rays_o, rays_d = rays_of(cameras, case.meta["volume_resolution"])
    close(rays_o @ TO_THEIRS.T, case["ray_o"], "exact32")
    close(rays_d @ TO_THEIRS.T, case["ray_d"], "exact32")


def test_fields_match_recorded_ones(generator: Recorded, case: Case, close: Close) -> None:
    close(generator.mapping(case["z"], condition(case["c"])), case["ws"])
    shown, raw = generator.foreground(case["field.points"], case["ws"])
    close(shown.transpose(1, 2), case["field.output"])
    close(raw, case["field.density"].squeeze(-1))
    points = sphere_points(case["ray_o"], case["ray_d"], case["sphere.inverse_radius"])
    close(points.flatten(1, 2), case["sphere.points"])
    shown, raw = generator.background(case["sphere.points"], case["background_noise"])
    close(shown.transpose(1, 2), case["sphere.output"])
    close(raw, case["sphere.density"].squeeze(-1))


@pytest.mark.parametrize("variant", VARIANTS)
def test_samples_lie_where_recorded_ones_do(generator: Recorded, case: Case, variant: str) -> None:
    draws = generator.draws(case["ray_o"].shape[1])
    found = [
        generator.render(case["ws"], case["ray_o"], case["ray_d"], replace(draws, u_fine=u)).t
        for u in nudged(draws.u_fine)
    ]
    check_positions(found, case[f"{variant}.t"])


@pytest.mark.parametrize("variant", VARIANTS)
def test_rendered_maps_match_recorded_ones(
    generator: Recorded, case: Case, close: Close, variant: str
) -> None:
    draws = generator.at(case[f"{variant}.t"])
    seen = generator.render(case["ws"], case["ray_o"], case["ray_d"], draws)
    order = seen.t.sort(dim=-1).indices  # not as it was where two are alike
    close(seen.foreground_weights.gather(-1, order), case[f"{variant}.weights"])
    close(1.0 - seen.foreground_weights.sum(dim=-1), case[f"{variant}.bg_lambda"])
    close(seen.background_weights, case[f"{variant}.bg_weights"])
    low = generator.low(seen.composite())
    close(low[:, :COLOURS], case[f"{variant}.low.rgb"])
    close(low[:, COLOURS:], case[f"{variant}.low.features"])


@pytest.mark.parametrize("variant", VARIANTS)
@either_side_of_kinks
def test_picture_and_gradients_match_recorded_ones(
    generator: Recorded, case: Case, close: Close, variant: str
) -> None:
    ws = case["ws"].clone().requires_grad_()
    seen = generator.render(ws, case["ray_o"], case["ray_d"], generator.at(case[f"{variant}.t"]))
    codes = ws[:, generator.foreground.num_ws :]
    grown = growth(case.meta["alphas"][variant], generator.levels)
    image = generator.upsampler(generator.low(seen.composite()), codes, grown)
    close(image, case[f"{variant}.image"])
    (image * case[f"{variant}.cotangent"]).sum().backward()
    expected = case.under(f"{variant}.grad:")
    check_gradient(ws.grad, expected.pop("ws"), "ws", share=SHARE)
    if expected:
        known = dict(generator.named_parameters())
        shaped = {name: value for name, value in generator.shaped(expected).items() if name in known}
        assert len(shaped) == len(expected)
        check_gradients(generator, shaped, Names(()), share=SHARE)


class TrainingPass:
    """The recorded step of training, in the precision of the cases."""

    def __init__(self, case: Case, training: Case) -> None:
        self.generator = generator = Recorded(case).train().to(training["ws"].dtype)
        cells, resolution, lowest = training.meta["path_cells"], case.meta["resolution"], generator.lowest
        pixels = cell_pixels(training["draw.pixel_offset"], cells, resolution)
        low_d, all_d = recorded_directions(training, lowest), recorded_directions(training, resolution)
        rays_d = torch.cat([low_d, all_d.gather(1, pixels[..., None].expand(-1, -1, 3))], dim=1)
        rays_o = training["cam2world"][:, None, :3, 3].expand_as(rays_d)
        self.ws = ws = training["ws"].clone().requires_grad_()
        seen = generator.render(ws, rays_o, rays_d, generator.draws(rays_d.shape[1], training))
        codes, count, grown = ws[:, generator.foreground.num_ws :], lowest**2, growth(1.0, generator.levels)
        self.image = generator.upsampler(generator.low(seen.composite()[..., :count]), codes, grown)
        colours = generator.upsampler.colours(seen.features[:, :, count:].flatten(2), codes, grown)
        weights = seen.weights[:, count:]
        loss = path_loss(self.image, pixels, colours.unflatten(2, weights.shape[1:]), weights)
        self.loss = PATH_WEIGHT * loss

    def slope(self, cotangent: Tensor) -> Tensor:
        """The gradient of the path loss, and of the picture times `cotangent`, by the style codes."""
        total = self.loss.sum() + (self.image * cotangent).sum()
        return torch.autograd.grad(total, self.ws, retain_graph=True)[0]


def in_double(case: Case) -> Case:
    """The case with all its numbers in double precision."""
    return Case(
        {name: x.double() if x.is_floating_point() else x for name, x in case.tensors.items()}, case.meta
    )


@either_side_of_kinks
def test_training_pass_and_path_loss_match_recorded_ones(
    recorded: Callable[[str], Case], case: Case, close: Close
) -> None:
    training = recorded("stylenerf_training")
    step, exact = TrainingPass(case, training), TrainingPass(in_double(case), in_double(training))
    check_to_rounding(step.image, exact.image, training["image"])
    check_to_rounding(step.loss, exact.loss, training["path_loss"].squeeze(1))
    generator, loss = step.generator, step.loss
    found = dict(generator.named_buffers())
    for name, value in generator.names.ours(training.under("w_avg_after:")).items():
        close(found[name], value)
    for name, pictures in (("path.grad:ws", 0.0), ("grad:ws", 1.0)):
        slopes = [one.slope(training["cotangent"] * pictures) for one in (step, exact)]
        lost = (slopes[0] - slopes[1]).abs().max().item()
        check_gradient(slopes[0], training[name], "ws", share=SHARE, floor=4.0 * lost)
    (loss.sum() + (step.image * training["cotangent"]).sum()).backward()
    check_norms(generator, training.meta["gradnorm"] | mapping_norms(generator), generator.names)


def mapping_norms(generator: Recorded) -> dict[str, float]:
    """No gradient reaches the mapping here; the recorded norms leave it out."""
    return {f"mapping.{name}": 0.0 for name, _ in generator.mapping.named_parameters()}


def discriminator_names(resolution: int) -> Names:
    """Of a discriminator of images of so many pixels along an edge."""
    return Names(
        (
            (r"^alpha$", "resample_filter"),
            (r"^mapping\.fc(\d+)\.", r"mapping.layers.\1."),
            (r"^b4\.fromrgb\.", "from_rgb."),
            (r"^b4\.out\.", "output."),
            (r"^b4\.", ""),
            (r"^b(\d+)\.fromrgb\.", r"b\1.from_rgb."),
            (r"^b(\d+)\.", lambda m: f"blocks.{(resolution // int(m[1])).bit_length() - 1}."),
        )
    )


@pytest.mark.parametrize("variant", VARIANTS)
@either_side_of_kinks
def test_discriminator_and_its_gradients_match_recorded_ones(
    recorded: Callable[[str], Case], close: Close, variant: str
) -> None:
    case = recorded("stylenerf_discriminator")
    facts = case.meta
    discriminator = GrowingDiscriminator(
        resolution=facts["resolution"],
        lowest=facts["lowest"],
        c_dim=facts["c_dim"],
        channel_base=facts["channel_base"],
        channel_max=facts["channel_max"],
        mapping_layers=facts["mapping_layers"],
        mbstd_group=facts["mbstd_group"],
    )
    names = discriminator_names(facts["resolution"])
    fill(discriminator, case.under("param:"), names)
    image = case[f"{variant}.image"].clone().requires_grad_()
    grown = growth(facts["alphas"][variant], discriminator.levels)
    logits = discriminator(image, condition(case[f"{variant}.c"]), grown).logits
    close(logits, case[f"{variant}.logits"])
    (logits * case[f"{variant}.cotangent"]).sum().backward()
    check_gradient(image.grad, case[f"{variant}.grad:image"], "image")
    check_norms(discriminator, facts["gradnorm"][variant], names)
