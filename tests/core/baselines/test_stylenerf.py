"""StyleNeRF in closed form and under invariances: no recording needed."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from gp3d_core.baselines.eg3d.poses import with_pixels
from gp3d_core.baselines.generators import make_generator
from gp3d_core.baselines.stylenerf.discriminator import GrowingDiscriminator
from gp3d_core.baselines.stylenerf.path_regularisation import cell_pixels, path_loss
from gp3d_core.baselines.stylenerf.rendering import Draws, depth_rays, render, sphere_points
from gp3d_core.baselines.stylenerf.upsampler import Growth, Upsampler, growth
from gp3d_core.config.presets import resolve
from gp3d_core.config.schema import COLOURS
from gp3d_core.rendering.cameras import Cameras, cam2world, mean_camera
from gp3d_core.rendering.volume import points_on
from tests.core.parity.parity_fixtures import Close


def test_growth_begins_with_nothing_and_ends_with_all() -> None:
    assert growth(0.0, 2) == (0, 0.0)
    assert growth(0.25, 2) == (1, 0.5)
    assert growth(0.5, 2) == (2, 0.0)
    assert growth(0.75, 2) == (2, 0.5)
    assert growth(1.0, 2) == (2, 1.0)


def test_ungrown_upsampler_gives_the_rendered_picture() -> None:
    upsampler = Upsampler(5, (6, 4), 8)
    low, ws = torch.randn(2, COLOURS + 5, 4, 4), torch.randn(2, upsampler.num_ws, 8)
    assert torch.equal(upsampler(low, ws, growth(0.0, 2)), low[:, :COLOURS])


def test_constant_features_have_no_path_loss_where_doubling_keeps_them(close: Close) -> None:
    """Away from the border, where zeros stand beside the image, one pass over points and one over maps agree."""
    upsampler = Upsampler(5, (6, 4), 8).eval()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():  # an adapter that adds nothing keeps constants, and so does a low-pass
        for name, parameter in upsampler.named_parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
            if ".doubling." in name:
                parameter.zero_()
    ws = torch.randn(1, upsampler.num_ws, 8, generator=generator)
    value = torch.randn(1, COLOURS + 5, 1, generator=generator)
    grown = growth(1.0, 2)
    colour = upsampler.colours(value, ws, grown)
    image = upsampler(value[..., None].expand(-1, -1, 16, 16), ws, grown)
    middle = image[:, :, 24:40, 24:40]
    close(middle, colour[..., None].expand_as(middle), "forward")
    assert (image[:, :, 0, 0] - colour[..., 0]).abs().max() > 0.1
    inner = torch.tensor([[24 * 64 + 30, 39 * 64 + 24]])
    weights = torch.tensor([0.25, 0.75]).expand(1, 2, 2)
    samples = colour[..., None].expand(-1, -1, 2, 2)
    assert path_loss(image, inner, samples, weights).item() < 1e-7
    assert path_loss(image, torch.tensor([[0, 63]]), samples, weights).item() > 1e-3


def test_background_shows_its_colour_where_nothing_stands_before_it(close: Close) -> None:
    cameras = Cameras(torch.tensor([[0.3, 1.4, 0.0]]), torch.tensor([12.0]), torch.ones(1), torch.zeros(1, 3))
    rays_o, rays_d = depth_rays(cameras, 4)
    colour = torch.tensor([0.25, -0.5, 0.75])

    def empty(points: Tensor) -> tuple[Tensor, Tensor]:
        return torch.ones(1, 3, points.shape[1]), -torch.ones(1, points.shape[1])

    def lit(points: Tensor) -> tuple[Tensor, Tensor]:
        return colour[None, :, None].expand(1, 3, points.shape[1]), torch.full((1, points.shape[1]), 2.0)

    lines = (torch.linspace(0.88, 1.12, 8), torch.linspace(0.0, 1.0, 8), torch.linspace(0.5, 0.0, 4))
    draws = Draws(*(line.expand(1, 16, -1) for line in lines))
    composite = render(empty, lit, rays_o, rays_d, draws).composite()
    close(composite, colour[None, :, None].expand_as(composite), "exact32")

    def solid(points: Tensor) -> tuple[Tensor, Tensor]:
        return torch.ones(1, 3, points.shape[1]), torch.full((1, points.shape[1]), 3.0)

    # the way through the foreground is as long as the slanted ray, the last sample shows nothing
    passed = torch.exp(-3.0 * (1.12 - 0.88) * rays_d.norm(dim=-1))
    mixed = (1.0 - passed)[:, None] + passed[:, None] * colour[None, :, None]
    close(render(solid, lit, rays_o, rays_d, draws).composite(), mixed, "exact32")


def test_spheres_are_met_where_they_are() -> None:
    generator = torch.Generator().manual_seed(4)
    rays_o = torch.randn(1, 50, 3, generator=generator)
    rays_o = rays_o / rays_o.norm(dim=-1, keepdim=True)
    rays_d = torch.randn(1, 50, 3, generator=generator)
    inverse = torch.tensor([0.5, 0.2, 0.01]).expand(1, 50, 3)
    points = sphere_points(rays_o, rays_d, inverse)
    torch.testing.assert_close(points[..., :3].norm(dim=-1), torch.ones(1, 50, 3))
    meeting = points[..., :3] / inverse[..., None] - rays_o[:, :, None]
    beside = torch.linalg.cross(meeting, rays_d[:, :, None].expand_as(meeting)).norm(dim=-1)
    assert (beside <= 1e-3 * meeting.norm(dim=-1) * rays_d.norm(dim=-1)[..., None]).all()
    assert ((meeting * rays_d[:, :, None]).sum(dim=-1) > 0).all()
    far = sphere_points(rays_o, rays_d, torch.zeros(1, 50, 1))[:, :, 0, :3]
    torch.testing.assert_close(far, rays_d / rays_d.norm(dim=-1, keepdim=True), rtol=0, atol=1e-6)


def test_pixels_of_large_pictures_lie_around_those_of_small_ones(close: Close) -> None:
    cameras = Cameras(torch.tensor([[0.3, 1.4, 0.0]]), torch.tensor([12.0]), torch.ones(1), torch.zeros(1, 3))
    small, large = (depth_rays(with_pixels(cameras, 8, n), n)[1].view(n, n, 3) for n in (4, 8))
    close(small, large.view(4, 2, 4, 2, 3).mean(dim=(1, 3)), "exact32")
    forward, right = -cam2world(cameras)[0, :3, 2], cam2world(cameras)[0, :3, 0]
    close(small @ forward, torch.ones(4, 4), "exact32")
    outermost = math.tan(math.radians(6.0))  # of the large picture, whose cameras these are
    close(large[0] @ right, outermost * torch.linspace(-1.0, 1.0, 8), "exact32")


def test_meshes_know_the_density_that_views_show(close: Close) -> None:
    """The generator's opacity is that of its field's density along the same rays."""
    torch.manual_seed(0)
    config = resolve("stylenerf-64", ["stylenerf.map_resolution=8", "stylenerf.path_cells=4"])
    generator = make_generator(config, 0).eval()
    with torch.no_grad():
        generator.foreground.density.bias.fill_(4.0)
        ws = generator.mapping(torch.randn(1, config.generator.z_dim), None)
        camera = mean_camera(config.camera)
        seen = generator.view(ws, camera)
        rays_o, rays_d = depth_rays(with_pixels(camera, 64, 8), 8)
        t = torch.linspace(config.camera.t_near, config.camera.t_far, 400).expand(1, 64, -1)
        raw = generator.field(generator.planes(ws))(points_on(rays_o, rays_d, t).flatten(1, 2))[1]
    density = F.relu(raw).view(1, 64, -1) * rays_d.norm(dim=-1, keepdim=True)
    expected = 1.0 - torch.exp(-density.mean(dim=-1) * (config.camera.t_far - config.camera.t_near))
    assert 0.2 < expected.mean() < 0.999
    error = (seen.opacity.flatten(1) - expected).abs()
    assert error.mean() < 0.05  # sixteen samples against four hundred


def test_one_pixel_is_taken_of_every_cell() -> None:
    pixels = cell_pixels(torch.tensor([[0.0, 0.999], [0.5, 0.25]]), 4, 16)
    cells = (pixels // 16 // 4) * 4 + pixels % 16 // 4
    assert torch.equal(cells, torch.arange(16).expand(2, -1))
    assert pixels[0, 0] == 3 * 16
    assert pixels[1, 0] == 1 * 16 + 2


def test_growing_is_without_jumps_while_a_level_fades_in(close: Close) -> None:
    upsampler = Upsampler(5, (6, 4), 8).eval()
    low, ws = torch.randn(2, COLOURS + 5, 4, 4), torch.randn(2, upsampler.num_ws, 8)
    before, start, end, after = (
        upsampler(low, ws, grown)
        for grown in (Growth(1, 1.0), Growth(2, 1e-6), Growth(2, 1.0 - 1e-6), Growth(2, 1.0))
    )
    close(start, F.interpolate(before, scale_factor=2.0, mode="bilinear"), "forward")
    close(end, after, "forward")
    assert (start - after).abs().max() > 0.01
    network = GrowingDiscriminator(
        resolution=32, lowest=8, c_dim=0, channel_base=128, channel_max=8, mapping_layers=2
    )
    images = torch.randn(4, 3, 32, 32)
    nearly, grown = (network(images, None, Growth(2, share)).logits for share in (1.0 - 1e-6, 1.0))
    close(nearly, grown, "forward")
    halved = F.avg_pool2d(images[:, :, :16, :16], 2)
    small, fresh = (
        network(halved, None, Growth(0, 0.0)),
        network(images[:, :, :16, :16], None, Growth(1, 1e-6)),
    )
    close(fresh.logits, small.logits, "forward")  # a level that has just begun adds nothing


def test_unconditional_discriminator_takes_no_class() -> None:
    network = GrowingDiscriminator(
        resolution=32, lowest=8, c_dim=0, channel_base=128, channel_max=8, mapping_layers=2
    )
    assert network(torch.randn(4, 3, 16, 16), None, growth(0.4, 2)).logits.shape == (4,)
