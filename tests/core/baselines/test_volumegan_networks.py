"""VolumeGAN's networks against recorded tensors of its release, and what must hold for any weights."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from gp3d_core.baselines.generators import make_generator
from gp3d_core.baselines.marching import Marched
from gp3d_core.baselines.point_layers import encode_positions
from gp3d_core.baselines.volumegan.discriminator import LevelOfDetailDiscriminator
from gp3d_core.baselines.volumegan.feature_volume import FeatureVolume, normalise_volume, sample_volume
from gp3d_core.baselines.volumegan.field import FieldNetwork, VolumeField
from gp3d_core.baselines.volumegan.image_network import ImageNetwork
from gp3d_core.config.presets import resolve
from gp3d_core.networks.mapping import Mapping
from gp3d_core.rendering.cameras import Cameras, mean_camera, sample_rays
from tests.core.baselines.comparing import (
    check_gradient,
    check_gradients,
    check_norms,
    check_positions,
    fill,
    nudged,
)
from tests.core.parity.kinks import either_side_of_kinks
from tests.core.parity.parity_fixtures import Case, Close
from tests.core.parity.parity_names import Names

NAMES = Names(
    (
        (r"(^|\.)filter$", r"\1resample_filter"),
        (r"^(synthesis\.)?lod$", "resample_filter"),
        (r"^w_avg$", "mapping.w_avg"),
        (r"^mapping\.embedding\.", "mapping.network.embed."),
        (r"^mapping\.dense(\d+)\.", r"mapping.network.layers.\1."),
        (r"^nerfmlp\.fv\.const$", "volume.const"),
        (r"^nerfmlp\.fv\.layer(\d+)\.", r"volume.convs.\1."),
        (r"^nerfmlp\.fv\.mapping_network\.", "volume.style."),
        (r"^nerfmlp\.fg_mlps\.(\d+)\.style\.", r"field.layers.\1.conv.style."),
        (r"^nerfmlp\.fg_mlps\.(\d+)\.weight$", r"field.layers.\1.conv.weight"),
        (r"^nerfmlp\.fg_mlps\.", "field.layers."),
        (r"^nerfmlp\.fg_density\.", "field.density."),
        (r"^nerfmlp\.fg_color\.", "field.features."),
        (
            r"^synthesis\.layer(\d+)\.",
            lambda m: f"image.blocks.{(int(m[1]) - 1) // 2}.conv{(int(m[1]) - 1) % 2}.",
        ),
        (r"(image\.blocks\.\d+\.conv\d)\.style\.", r"\1.layer.conv.style."),
        (r"(image\.blocks\.\d+\.conv\d)\.weight$", r"\1.layer.conv.weight"),
        (r"(image\.blocks\.\d+\.conv\d)\.bias$", r"\1.layer.bias"),
        (r"(image\.blocks\.\d+\.conv\d)\.noise$", r"\1.noise_const"),
        (r"^synthesis\.output(\d+)\.style\.", lambda m: f"image.blocks.{int(m[1]) - 1}.to_rgb.conv.style."),
        (r"^synthesis\.output(\d+)\.weight$", lambda m: f"image.blocks.{int(m[1]) - 1}.to_rgb.conv.weight"),
        (r"^synthesis\.output(\d+)\.bias$", lambda m: f"image.blocks.{int(m[1]) - 1}.to_rgb.bias"),
    )
)


class Recorded(nn.Module):
    """The recorded generator, of the sizes that its case tells."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        facts = case.meta
        self.case = case
        stages, field, low = facts["volume"]["stages"], facts["field"], facts["low_resolution"]
        channels = [
            min(facts["fmaps_base"] // size, facts["fmaps_max"])
            for size in (low << k for k in range(1, (facts["resolution"] // low).bit_length()))
        ]
        self.volume = FeatureVolume(stages, facts["w_dim"], start=facts["volume"]["start"])
        self.field = FieldNetwork(
            stages[-1],
            facts["posenc_octaves"],
            field["width"],
            field["layers"],
            field["features"],
            facts["w_dim"],
        )
        self.image = ImageNetwork(field["features"], channels, low, facts["w_dim"])
        self.mapping = Mapping(
            facts["z_dim"],
            facts["classes"],
            facts["w_dim"],
            field["layers"] + self.image.num_ws,
            facts["mapping_layers"],
            width=facts["mapping_width"],
            embedding=facts["embedding"],
        )
        shapes = {name: value.shape for name, value in self.state_dict().items()}
        stored = NAMES.ours(case.under("param:"))
        fill(
            self,
            {name: value.reshape(shapes.get(name, value.shape)) for name, value in stored.items()},
            Names(()),
        )

    def cameras(self) -> Cameras:
        case, sampling = self.case, self.case.meta["point_sampling"]
        yaw = case["draw.0"][:, 0] * sampling["horizontal_stddev"] + sampling["horizontal_mean"]
        pitch = case["draw.1"][:, 0] * sampling["vertical_stddev"] + sampling["vertical_mean"]
        angles = torch.stack([yaw - math.pi / 2, pitch, torch.zeros_like(yaw)], dim=1)
        ones = torch.ones_like(yaw)
        return Cameras(angles, ones * sampling["fov"], ones * sampling["radius"], torch.zeros(len(yaw), 3))

    def box(self) -> tuple[Tensor, Tensor]:
        lower, upper = torch.tensor(self.case.meta["bounds"])
        return lower, upper

    def march(self, ws: Tensor, near: Callable[[Tensor], Tensor] = Tensor.clone) -> Marched:
        """With recorded numbers, or such near them."""
        case, sampling = self.case, self.case.meta["point_sampling"]
        even = torch.linspace(sampling["ray_start"], sampling["ray_end"], sampling["num_steps"])
        jitter = case["draw.2"].flatten(1, 2).squeeze(-1) - 0.5
        t = even + jitter * (even[1] - even[0])
        return self.march_at(ws, t, near(case["draw.4"].view(len(ws), t.shape[1], -1)))

    def march_at(self, ws: Tensor, t: Tensor, u_fine: Tensor | None = None) -> Marched:
        """Of all samples at distances `t` [B,R,S], without `u_fine` no others."""
        rays_o, rays_d = sample_rays(self.cameras(), self.case.meta["low_resolution"])
        field = VolumeField(self.field, self.volume(ws[:, 0]), ws, *self.box())
        return field.march(rays_o, rays_d, t, t[..., :0] if u_fine is None else u_fine)

    def picture(self, features: Tensor, ws: Tensor) -> Tensor:
        size = self.case.meta["low_resolution"]
        picture: Tensor = self.image(
            features.unflatten(2, (size, size)), ws[:, self.case.meta["field"]["layers"] :], "const"
        )
        return picture


@pytest.fixture
def case(recorded: Callable[[str], Case]) -> Case:
    return recorded("volumegan_generator")


@pytest.fixture
def generator(case: Case) -> Recorded:
    return Recorded(case)


def by_ray(tensor: Tensor) -> Tensor:
    """[B,h,w,S,1] as [B,R,S]."""
    return tensor.flatten(1, 2).squeeze(-1)


def condition(tensor: Tensor) -> Tensor | None:
    """A recorded label; those of width 0 stand for none."""
    return tensor if tensor.shape[1] else None


def test_style_codes_match_recorded_ones(generator: Recorded, case: Case, close: Close) -> None:
    ws = generator.mapping(case["z"], condition(case["label"]))
    close(ws[:, 0], case["w"])
    close(ws, case["wp"])


def test_volume_and_its_reading_match_recorded_ones(generator: Recorded, case: Case, close: Close) -> None:
    close(generator.volume(case["w"]), case["volume"])
    close(sample_volume(case["volume"], case["lookup.points"], *generator.box()), case["lookup.features"])
    octaves = case.meta["posenc_octaves"]
    encoded = encode_positions(case["lookup.points"], octaves, scale=1.0, raw=True)
    close(encoded.transpose(1, 2), case["posenc"])


def test_rays_and_their_samples_match_recorded_ones(generator: Recorded, case: Case, close: Close) -> None:
    rays_o, rays_d = sample_rays(generator.cameras(), case.meta["low_resolution"])
    close(rays_o, case["ray_o"].flatten(1, 2))
    close(rays_d, case["ray_d"].flatten(1, 2))
    own, *moved = (generator.march(case["wp"], lambda u, k=k: nudged(u)[k]).t for k in range(3))
    steps = case.meta["point_sampling"]["num_steps"]
    torch.testing.assert_close(own[..., :steps], by_ray(case["t_coarse"]), rtol=0, atol=1e-5)
    check_positions([own, *moved], by_ray(case["t"]))
    marched = generator.march_at(case["wp"], by_ray(case["t"]))
    order = marched.t.sort(dim=-1).indices  # not as it was where two are alike
    close(marched.density.gather(-1, order), by_ray(case["density"]).relu())
    close(marched.weights.gather(-1, order), by_ray(case["weights"]))
    close((marched.weights * marched.t).sum(dim=-1), case["depth"].flatten(1))
    close(marched.composite().transpose(1, 2), case["features"].flatten(1, 2))


@either_side_of_kinks
def test_picture_and_all_gradients_match_recorded_ones(generator: Recorded, case: Case, close: Close) -> None:
    ws = generator.mapping(case["z"], condition(case["label"]))
    image = generator.picture(generator.march_at(ws, by_ray(case["t"])).composite(), ws)
    close(image, case["image"])
    (image * case["cotangent"]).sum().backward()
    parameters, expected = dict(generator.named_parameters()), NAMES.ours(case.under("grad:"))
    vanishing = {name for name in expected if name.startswith("volume.convs.") and name.endswith(".bias")}
    assert vanishing
    for name in vanishing:  # the normalisation takes these biases away
        check_gradient(parameters[name].grad, torch.zeros_like(parameters[name]), name, floor=1e-4)
    others = {
        name: gradient.reshape(parameters[name].shape)
        for name, gradient in expected.items()
        if name in parameters and name not in vanishing
    }
    assert len(others) + len(vanishing) >= len(parameters) - 1
    check_gradients(generator, others, Names(()))


def discriminator_names(levels: int) -> Names:
    """Of the recorded discriminator with so many residual blocks."""

    def layer(number: int) -> str:
        block, inner = divmod(number, 2)
        return f"blocks.{block}.conv{inner}." if block < levels else ("conv.", "fc.")[inner]

    return Names(
        (
            (r"(^|\.)filter$", r"\1resample_filter"),
            (r"^lod$", "resample_filter"),
            (r"^embedding\.", "embed."),
            (r"^input0\.", "from_image."),
            (r"^input(\d+)\.", lambda m: f"from_smaller.{int(m[1]) - 1}."),
            (r"^residual(\d+)\.", r"blocks.\1.skip."),
            (r"^layer(\d+)\.", lambda m: layer(int(m[1]))),
        )
    )


@pytest.mark.parametrize("variant", ["full", "fade", "half"])
@either_side_of_kinks
def test_discriminator_and_its_gradients_match_recorded_ones(
    recorded: Callable[[str], Case], close: Close, variant: str
) -> None:
    case = recorded("volumegan_discriminator")
    facts = case.meta
    discriminator = LevelOfDetailDiscriminator(
        resolution=facts["resolution"],
        c_dim=facts["classes"],
        channel_base=facts["fmaps_base"],
        channel_max=facts["fmaps_max"],
        embedding=facts["embedding"],
    )
    names = discriminator_names(len(discriminator.blocks))
    fill(discriminator, case.under("param:"), names)
    image = case[f"{variant}.image"].clone().requires_grad_()
    logits = discriminator(image, condition(case[f"{variant}.label"]), lod=facts["lod"][variant]).logits
    close(logits, case[f"{variant}.score"])
    (logits * case[f"{variant}.cotangent"]).sum().backward()
    check_gradient(image.grad, case[f"{variant}.grad:image"], "image")
    check_norms(discriminator, facts["gradnorm"][variant], names)


def test_constant_volume_reads_constant_inside_and_outside() -> None:
    points = torch.randn(2, 300, 3, generator=torch.Generator().manual_seed(1))
    lower, upper = torch.tensor([-0.3, -0.2, -0.4]), torch.tensor([0.2, 0.3, 0.1])
    volume = torch.tensor([[1.5, -2.0], [0.25, 3.0]])[:, :, None, None, None].expand(-1, -1, 5, 5, 5)
    read = sample_volume(volume, points, lower, upper)
    torch.testing.assert_close(read, volume[:, :, 0, 0, 0, None].expand_as(read))


def test_volume_reads_a_linear_function_exactly_and_clamps_outside(close: Close) -> None:
    lower, upper = torch.tensor([-1.0, 0.0, 2.0]), torch.tensor([1.0, 3.0, 4.0])
    axes = [torch.linspace(lower[k], upper[k], 6) for k in range(3)]
    depth, height, width = torch.meshgrid(axes[2], axes[1], axes[0], indexing="ij")
    volume = torch.stack([width + 2.0 * height - 3.0 * depth, width, height, depth])[None]
    points = lower + (upper - lower) * (2.0 * torch.rand(1, 200, 3) - 0.5)  # a quarter beyond either side
    inside = torch.minimum(torch.maximum(points, lower), upper)
    expected = torch.stack([inside @ torch.tensor([1.0, 2.0, -3.0]), *inside.unbind(dim=-1)], dim=1)
    close(sample_volume(volume, points, lower, upper), expected, "exact32")


def test_reading_a_volume_can_be_differentiated_twice() -> None:
    generator = torch.Generator().manual_seed(2)
    volume = torch.randn(1, 2, 3, 3, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    points = 0.8 * torch.rand(1, 4, 3, generator=generator, dtype=torch.float64) - 0.35
    box = torch.full((3,), -0.5, dtype=torch.float64), torch.full((3,), 0.5, dtype=torch.float64)
    points.requires_grad_()
    assert torch.autograd.gradgradcheck(lambda v, p: sample_volume(v, p, *box), (volume, points))


def test_every_stage_is_normalised_before_its_style() -> None:
    volume = FeatureVolume((6, 5, 4), 8)
    seen: list[Tensor] = []
    for conv in volume.convs:
        conv.register_forward_hook(lambda *args: seen.append(normalise_volume(args[-1])))
    volume(torch.randn(3, 8))
    assert [len(x.shape) for x in seen] == [5, 5, 5]
    for x in seen:
        flat = x.flatten(2)
        assert flat.mean(dim=2).abs().max() < 1e-5
    for x in seen[1:]:  # a constant volume has no deviation away from its border, but it has one
        torch.testing.assert_close(
            x.flatten(2).var(dim=2, correction=0), torch.ones(x.shape[:2]), rtol=1e-3, atol=1e-3
        )


def test_picture_is_the_upsampled_first_features_where_nothing_is_added() -> None:
    from gp3d_core.ops.resampling import upsample

    network = ImageNetwork(7, (6, 5), 4, 8)
    with torch.no_grad():
        for block in network.blocks:
            block.to_rgb.conv.weight.zero_()
    x, ws = torch.randn(2, 7, 4, 4), torch.randn(2, network.num_ws, 8)
    assert torch.equal(network(x, ws, "none", level=0.0), x[:, :3])
    assert torch.equal(network(x, ws, "none"), upsample(upsample(x[:, :3])))


def test_fading_is_a_straight_line_between_levels(close: Close) -> None:
    from gp3d_core.ops.resampling import upsample

    network = ImageNetwork(7, (6, 5), 4, 8)
    x, ws = torch.randn(2, 7, 4, 4), torch.randn(2, network.num_ws, 8)
    lower, upper = upsample(network(x, ws, "none", level=1.0)), network(x, ws, "none", level=2.0)
    close(network(x, ws, "none", level=1.25), 0.75 * lower + 0.25 * upper, "exact32")


def test_every_layer_of_the_image_network_has_its_code() -> None:
    """In the order layer, layer, picture, where a picture shares the next one's first layer; the first has no layer."""
    network = ImageNetwork(7, (6, 5), 4, 8)
    assert network.num_ws == 6
    x, ws = torch.randn(1, 7, 4, 4), torch.randn(1, network.num_ws, 8, requires_grad=True)
    seen: dict[str, Tensor] = {}
    for name, module in network.named_modules():
        if name.endswith(".style"):
            module.register_forward_hook(lambda _, given, __, name=name: seen.update({name: given[0]}))
    network(x, ws, "none")
    found = {
        name.split(".conv.")[0]: next(k for k in range(6) if torch.equal(value, ws[:, k]))
        for name, value in seen.items()
    }
    assert found == {
        "blocks.0.conv0.layer": 1,
        "blocks.0.conv1.layer": 2,
        "blocks.0.to_rgb": 3,
        "blocks.1.conv0.layer": 3,
        "blocks.1.conv1.layer": 4,
        "blocks.1.to_rgb": 5,
    }


def test_level_of_detail_fades_from_the_larger_images_to_the_smaller_ones(close: Close) -> None:
    network = LevelOfDetailDiscriminator(resolution=16, c_dim=0, channel_base=128, channel_max=8, embedding=5)
    images = torch.randn(4, 3, 16, 16)
    logits = {lod: network(images, None, lod=lod).logits for lod in (0.0, 1e-6, 1.0 - 1e-6, 1.0)}
    close(logits[1e-6], logits[0.0], "forward")
    close(logits[1.0 - 1e-6], logits[1.0], "forward")
    assert (logits[0.0] - logits[1.0]).abs().max() > 1e-3
    small = torch.nn.functional.avg_pool2d(images, 2)
    enlarged = small.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    close(network(enlarged, None, lod=1.0).logits, logits[1.0], "exact32")  # it sees no more than that


def test_unconditional_discriminator_takes_no_class() -> None:
    network = LevelOfDetailDiscriminator(resolution=16, c_dim=0, channel_base=128, channel_max=8, embedding=5)
    assert network(torch.randn(4, 3, 16, 16), None).logits.shape == (4,)


@pytest.mark.parametrize("noise", ["random", "none"])
def test_pictures_have_noise_where_it_is_asked_for(noise: str) -> None:
    config = resolve("volumegan-64", [f"volumegan.noise={noise}"])
    generator = make_generator(config, 0).eval()
    ws = generator.mapping(torch.randn(1, config.generator.z_dim), None)
    seen = []
    for strength in (0.0, 1.0):
        with torch.no_grad():
            for name, parameter in generator.named_parameters():
                if name.endswith("noise_strength"):
                    parameter.fill_(strength)
        seen.append(generator.view(ws, mean_camera(config.camera)).rgb)
    assert torch.equal(*seen) is (noise == "none")
