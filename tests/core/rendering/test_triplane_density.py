"""Densities on grids without point lists: against point-by-point evaluation, and the guarantee of coarse-to-fine."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from gp3d_core.config.presets import PRESETS
from gp3d_core.config.schema import GeneratorConfig, RenderConfig
from gp3d_core.meshing.cleaning import mesh_report
from gp3d_core.meshing.extraction import density_grid, extract_mesh
from gp3d_core.meshing.isosurface import MemoryLimitError, check_memory, extraction_bytes, field_surface
from gp3d_core.networks.decoder import TriplaneDecoder, TriplaneField
from gp3d_core.rendering.cameras import mean_camera, sample_rays
from gp3d_core.rendering.density_blocks import SeparableBlocks
from gp3d_core.rendering.empty_space import FastField, skip_empty
from gp3d_core.rendering.triplane_density import SeparableDensity, point_grid
from gp3d_core.rendering.volume import render
from tests.support.quadrics import MUG, quadric_field
from tests.support.surfaces import surface_of_grid

CAMERA = next(iter(PRESETS.values())).camera


def noise_field(resolution=24, channels=6, width=16, smooth=6, seed=0) -> TriplaneField:
    """A field of random planes and weights: surfaces everywhere, of every size."""
    generator = torch.Generator().manual_seed(seed)
    planes = torch.randn(3, channels, smooth, smooth, generator=generator)
    planes = F.interpolate(planes, size=resolution, mode="bicubic", align_corners=True)
    decoder = TriplaneDecoder(
        GeneratorConfig(plane_resolution=resolution, plane_channels=channels, decoder_width=width)
    ).requires_grad_(False)
    for parameter in decoder.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return TriplaneField(2 * planes[None], decoder, 0.7)


def triangles(vertices, faces) -> set:
    """The triangles of a mesh, each as its corners' coordinates from the smallest corner on, whatever their order."""
    corners = vertices[faces]
    found = set()
    for triangle in corners.tolist():
        first = triangle.index(min(triangle))
        found.add(tuple(map(tuple, triangle[first:] + triangle[:first])))
    return found


@pytest.mark.parametrize("shape", [(2, 2, 2), (7, 40, 33), (65, 31, 48)])
def test_separable_grid_is_the_field_point_by_point(shape):
    field = noise_field()
    lines = [torch.linspace(-0.7, 0.7, count) for count in shape]
    exact = field.separable_density().grid(*lines)
    plain = point_grid(field, *lines)
    assert plain.std() > 0.5
    assert (exact - plain).abs().max() <= 1e-5 * max(1.0, float(plain.abs().max()))


def test_separable_density_has_the_papers_size_and_accuracy():
    field = noise_field(resolution=256, channels=32, width=64, smooth=256)
    axis = torch.linspace(-0.7, 0.7, 60)
    assert (
        field.separable_density().grid(axis, axis, axis) - point_grid(field, axis, axis, axis)
    ).abs().max() <= 1e-4


def test_threads_change_nothing():
    field, axis = noise_field(), torch.linspace(-0.7, 0.7, 50)
    before = torch.get_num_threads()
    try:
        grids = []
        for count in (1, 3):
            torch.set_num_threads(count)
            grids.append(field.separable_density().grid(axis, axis, axis))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*grids)


def test_values_one_by_one_agree():
    field = noise_field()
    points = torch.rand(500, 3) * 1.4 - 0.7
    assert torch.allclose(
        field.separable_density().values(points), field(points[None])[1][0, :, 0], atol=1e-4
    )


@pytest.mark.parametrize("share", [0.02, 0.5, 0.97])
@pytest.mark.parametrize("count", [29, 33])  # an odd and an even number of blocks
@pytest.mark.parametrize("seed", range(3))
def test_bounds_hold_for_every_sample_of_every_block(seed, count, share):
    density = noise_field(seed=seed).separable_density()
    line = torch.linspace(-0.7, 0.7, count)
    raw = density.grid(line, line, line)
    level = float(raw.quantile(1 - share))
    lower, upper = SeparableBlocks(density, (line, line, line)).bounds(level)
    highest = F.max_pool3d(raw[None], 5, 4)[0].numpy()
    lowest = -F.max_pool3d(-raw[None], 5, 4)[0].numpy()
    assert lower.shape == upper.shape == highest.shape
    assert (upper >= highest).all()
    assert (lower <= lowest).all()


def test_bounds_are_close_where_the_level_lies_between_them():
    density = noise_field().separable_density()
    line = torch.linspace(-0.2, 0.2, 65)  # texels of many blocks, as in fine grids
    raw = density.grid(line, line, line)
    level = float(raw.median())
    lower, upper = SeparableBlocks(density, (line, line, line)).bounds(level)
    open_ = (lower <= level) & (upper >= level)
    highest = F.max_pool3d(raw[None], 5, 4)[0].numpy()
    lowest = -F.max_pool3d(-raw[None], 5, 4)[0].numpy()
    crossed = (lowest <= level) & (highest > level)
    assert crossed[open_].mean() > 0.6, "few blocks are looked at in vain: 27 % by intervals alone"


@pytest.mark.parametrize(
    ("hidden", "output"),
    [
        ([[1.0], [-1.0]], [-1.0, -1.0]),  # highest where both units switch, in the middle of the block
        ([[1.0], [-1.0]], [1.0, 1.0]),  # lowest there
        ([[1.0], [-0.5]], [1.0, 0.7]),  # linear on either side
    ],
)
@pytest.mark.parametrize("sign", [1, -1])
def test_bounds_hold_where_units_switch_within_a_block(hidden, output, sign):
    """Planes without any curvature, so that nothing but the units themselves widens the bounds."""
    ramp = torch.tensor([[-1.0, 1.0], [-1.0, 1.0]])
    planes = sign * torch.stack([3 * ramp, ramp.T, 2 * (ramp + ramp.T)])[:, None]
    density = SeparableDensity(
        planes, torch.tensor(hidden), torch.zeros(2), 0.0, torch.tensor(output), torch.tensor(0.0), 0.5
    )
    line = torch.linspace(-0.5, 0.5, 5)  # a single block
    raw = density.grid(line, line, line)
    for share in (0.1, 0.5, 0.9):
        level = float(raw.min() + share * (raw.max() - raw.min()))
        lower, upper = (bound.item() for bound in SeparableBlocks(density, (line, line, line)).bounds(level))
        assert lower <= float(raw.min())
        assert upper >= float(raw.max())
        assert upper - lower <= 1.01 * float(raw.max() - raw.min()) + 1e-4, "nothing else widens them"


def test_bounds_hold_where_the_box_ends_and_samples_repeat():
    """So the mesher's lines do: one sample outside the box, and as many as fill the last block."""
    density = noise_field(seed=4).separable_density()
    line = torch.linspace(-0.7, 0.7, 30)[(torch.arange(37) - 1).clamp(0, 29)]
    raw = density.grid(line, line, line)
    level = float(raw.median())
    lower, upper = SeparableBlocks(density, (line, line, line)).bounds(level)
    assert (upper >= F.max_pool3d(raw[None], 5, 4)[0].numpy()).all()
    assert (lower <= -F.max_pool3d(-raw[None], 5, 4)[0].numpy()).all()


def test_block_values_are_the_grids():
    density = noise_field().separable_density()
    line = torch.linspace(-0.7, 0.7, 17)
    raw = density.grid(line, line, line).numpy()
    blocks = SeparableBlocks(density, (line, line, line))
    (values,) = blocks.values(np.array([[3, 0, 2]]))
    assert np.allclose(values, raw[12:17, 0:5, 8:13], atol=1e-5)
    assert np.allclose(blocks.slab(1, 3), raw[4:13], atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("grid", [24, 33, 54])
@pytest.mark.parametrize("share", [0.002, 0.5, 0.97])
def test_coarse_to_fine_gives_the_full_grids_surface_triangle_by_triangle(grid, share):
    field = noise_field()
    dense = density_grid(field, box=0.7, grid=grid).numpy()
    level = float(np.quantile(dense, 1 - share))
    full = surface_of_grid(dense, box=0.7, level=level)
    vertices, faces = field_surface(field, box=0.7, grid=grid, level=level)
    assert triangles(vertices, faces) in (
        triangles(full.vertices, full.faces),
        triangles(full.vertices, full.faces[:, ::-1]),
    )
    assert len(vertices) == len(full.vertices)


def test_most_blocks_are_never_evaluated(monkeypatch):
    asked, values = [], SeparableBlocks.values
    monkeypatch.setattr(
        SeparableBlocks, "values", lambda self, index: asked.append(len(index)) or values(self, index)
    )
    field = noise_field()
    level = float(np.quantile(density_grid(field, box=0.7, grid=60).numpy(), 0.998))
    _, faces = field_surface(field, box=0.7, grid=129, level=level)
    assert len(faces) > 100
    assert 0 < sum(asked) < 0.1 * 33**3


@pytest.mark.slow
def test_a_speck_of_one_sample_is_found():
    specks = [((0.1016, -0.2031, 0.3047), (0.006,) * 3), ((0.0, 0.0, 0.0), (0.2,) * 3)]
    found = extract_mesh(
        quadric_field(specks, resolution=512), box=0.5, grid=129, level=0.0, components=None
    ).mesh
    assert mesh_report(found).components == 2


def test_plain_callables_take_the_same_way():
    def ball(points):
        return points, 0.5 - points.norm(dim=-1, keepdim=True)

    vertices, _ = field_surface(ball, box=0.7, grid=70, level=0.0)
    assert np.allclose(np.linalg.norm(vertices, axis=1), 0.5, atol=1e-3)


def test_a_cut_is_flat_and_closed():
    def keep(points):
        return 0.1 - points[:, 0]

    field = quadric_field((((0, 0, 0), (0.3, 0.3, 0.3)),))
    mesh = extract_mesh(field, box=0.5, grid=64, level=0.0, crop=keep).mesh
    report = mesh_report(mesh)
    radius = 0.3 * 0.75**0.5
    height = radius + 0.1
    assert report.watertight
    assert report.bounds[1][0] == pytest.approx(0.1, abs=1e-3)
    assert report.volume == pytest.approx(np.pi * height**2 * (radius - height / 3), rel=0.02)
    cap = (mesh.vertices[:, 0] > 0.099) & (np.linalg.norm(mesh.vertices[:, 1:], axis=1) < 0.15)
    assert np.allclose(mesh.normals[cap], [1, 0, 0], atol=0.05)


@pytest.mark.slow
def test_ellipsoid_converges_to_its_volume_with_the_square_of_the_voxel():
    field = quadric_field((((0.05, 0, -0.05), (0.4, 0.3, 0.2)),), resolution=512)
    volume = 4 / 3 * np.pi * 0.4 * 0.3 * 0.2 * 0.75**1.5
    errors = [
        abs(mesh_report(extract_mesh(field, box=0.5, grid=n, level=0.0).mesh).volume / volume - 1)
        for n in (33, 65, 129)
    ]
    assert errors[-1] < 2e-3
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.4)


def test_memory_is_estimated_and_limited():
    field = noise_field()
    assert extraction_bytes(field, 512) < 2**31 < extraction_bytes(field, 2048)
    check_memory(field, 256, 2**31)
    with pytest.raises(
        MemoryLimitError, match=r"a grid of 2048 needs about .* GiB, the limit is 2\.0 GiB; the largest"
    ):
        check_memory(field, 2048, 2**31)
    with pytest.raises(MemoryLimitError, match="no grid fits"):
        check_memory(field, 64, 1000)


def test_slopes_that_break_the_bounds_are_refused():
    with pytest.raises(ValueError, match="slope"):
        SeparableDensity(
            torch.zeros(3, 1, 2, 2),
            torch.zeros(1, 1),
            torch.zeros(1),
            1.5,
            torch.zeros(1),
            torch.zeros(1),
            1.0,
        )
    batch = noise_field()
    with pytest.raises(ValueError, match="found 2"):
        TriplaneField(batch.planes.expand(2, -1, -1, -1, -1), batch.decoder, 1.0).separable_density()


@pytest.mark.parametrize("reach", [0.7, 0.76, 3.0])
def test_fast_field_is_the_field_inside_at_the_border_and_beyond(reach):
    field = noise_field()
    points = (torch.rand(1, 4000, 3) * 2 - 1) * reach
    points[0, :3] = torch.tensor([[0.7, -0.7, 0.7], [0.7001, 0.0, 0.0], [-0.75, 0.2, 0.0]])
    for quick, plain in zip(field.fast()(points), field(points), strict=True):
        assert torch.allclose(quick, plain, atol=2e-4)
    assert isinstance(field.fast(), FastField)


def test_skipping_empty_space_changes_no_picture_but_asks_for_few_points():
    field = quadric_field(MUG, box=CAMERA.box)
    config = RenderConfig(
        coarse_steps=24,
        fine_steps=24,
        last_interval=1e-3,
        background="white",
        outside_box="empty",
        density_scale=8.0,
        density_gain=40.0,
    )
    asked = []

    def counting(points):
        asked.append(points.shape[1])
        return field(points)

    rays = sample_rays(mean_camera(CAMERA), 48)
    with torch.no_grad():
        plain = render(counting, *rays, CAMERA, config, jitter=False)
        everything, asked[:] = sum(asked), []
        quick = skip_empty(counting, field.separable_density(), threshold=-0.2, empty_outside=True)
        seen = render(quick, *rays, CAMERA, config, jitter=False)
    error = ((plain.rgb - seen.rgb) / 2).square().mean()
    assert plain.opacity.max() > 0.99
    assert -10 * torch.log10(error) > 45
    assert sum(asked) < everything / 3


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_gives_the_same_surface():
    field = noise_field()
    moved = TriplaneField(field.planes.cuda(), field.decoder.cuda(), field.box)
    vertices = field_surface(moved, box=0.7, grid=64, level=0.4)[0]
    field.decoder.cpu()
    assert np.allclose(vertices, field_surface(field, box=0.7, grid=64, level=0.4)[0], atol=1e-4)
