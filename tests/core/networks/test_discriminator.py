"""The discriminator: minibatch statistics, position conditioning, resolutions, and no dead parameters."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from gp3d_core.config.presets import PRESETS
from gp3d_core.networks.discriminator import Discriminator, ImageDiscriminator, Shown, minibatch_std
from gp3d_core.rendering.patches import Patches, full_patch
from tests.support.small_networks import CLASSES, CONFIG, FEATURES


@pytest.fixture(autouse=True)
def fixed_initialisation() -> None:
    torch.manual_seed(77)


@pytest.fixture
def discriminator() -> Discriminator:
    return Discriminator(CONFIG, CLASSES, FEATURES)


def inputs(count: int = 4) -> tuple[Tensor, Patches, Tensor]:
    images = torch.randn(count, 4, 16, 16, generator=torch.Generator().manual_seed(1))
    return images, full_patch(count), torch.eye(CLASSES)[torch.arange(count) % CLASSES]


def halves() -> Tensor:
    return torch.cat([torch.ones(4, 2, 3, 3), torch.zeros(4, 2, 3, 3)])


@pytest.mark.slow
def test_contiguous_groups_hold_neighbours_and_strided_groups_do_not() -> None:
    contiguous, strided = (minibatch_std(halves(), 4, layout)[:, -1] for layout in ("contiguous", "strided"))
    torch.testing.assert_close(contiguous, torch.full((8, 3, 3), 1e-4))
    torch.testing.assert_close(strided, torch.full((8, 3, 3), 0.5))


@pytest.mark.parametrize("layout", ["contiguous", "strided"])
def test_minibatch_std_gives_each_sample_its_own_group(layout: str) -> None:
    x = torch.randn(8, 3, 2, 2)
    found = minibatch_std(x, 4, layout)
    assert torch.equal(found[:, :3], x)
    groups = [[0, 1, 2, 3], [4, 5, 6, 7]] if layout == "contiguous" else [[0, 2, 4, 6], [1, 3, 5, 7]]
    for group in groups:
        expected = x[group].std(dim=0, correction=0).mean()
        torch.testing.assert_close(found[group, 3], expected.expand(4, 2, 2), rtol=1e-4, atol=1e-4)


def test_minibatch_std_of_a_small_batch_is_one_group_and_a_remainder_is_refused() -> None:
    assert minibatch_std(torch.randn(2, 1, 2, 2), 4, "contiguous").shape == (2, 2, 2, 2)
    with pytest.raises(ValueError, match="multiple"):
        minibatch_std(torch.randn(6, 1, 2, 2), 4, "contiguous")


def test_class_gain_is_a_factor_on_the_class() -> None:
    images, patches, c = inputs()
    loud = replace(CONFIG, discriminator=replace(CONFIG.discriminator, class_gain=16.0))
    torch.manual_seed(3)
    plain = Discriminator(CONFIG, CLASSES, 0)
    gained = Discriminator(loud, CLASSES, 0)
    gained.load_state_dict(plain.state_dict())
    torch.testing.assert_close(gained(images, patches, c).logits, plain(images, patches, 16.0 * c).logits)
    assert not torch.allclose(gained(images, patches, c).logits, plain(images, patches, c).logits)


def test_logits_depend_on_class_position_and_group(discriminator: Discriminator) -> None:
    images, patches, c = inputs(8)
    before = discriminator(images, patches, c).logits
    small = Patches(patches.scales * 0.5, patches.offsets + 0.1)
    changed = torch.cat([images[:7], -images[7:]])
    assert (discriminator(images, patches, c.roll(1, dims=0)).logits - before).abs().min() > 1e-4
    assert (discriminator(images, small, c).logits - before).abs().min() > 1e-4
    neighbour = discriminator(changed, patches, c).logits - before
    assert (neighbour.abs() > 0).tolist() == [False, True] * 4  # strided groups here: even and odd samples


def test_position_code_ignores_the_vertical_scale_and_repeats_per_scalar(
    discriminator: Discriminator,
) -> None:
    patches = Patches(torch.tensor([[0.5, 0.9]]), torch.tensor([[0.25, 0.1]]))
    other = Patches(torch.tensor([[0.5, 0.1]]), torch.tensor([[0.25, 0.1]]))
    code = discriminator.encoding(patches)
    assert code.shape == (1, 828)
    assert torch.equal(code, discriminator.encoding(other))
    scalars = code.view(3, 276)
    for row, value in zip(scalars, (0.5, 0.25, 0.1), strict=True):
        angles = 1000 * value * torch.pi * 2.0 ** torch.arange(10) / 1024
        torch.testing.assert_close(row[:20], torch.cat([angles.sin(), angles.cos()]), atol=1e-3, rtol=0)
        assert torch.equal(row[20:], discriminator.encoding.table.weight[round(1000 * value)])


def test_features_come_only_when_asked_for(discriminator: Discriminator) -> None:
    assert discriminator(*inputs()).features is None
    assert discriminator(*inputs(), with_features=True).features.shape == (4, FEATURES)
    with pytest.raises(ValueError, match="distillation head"):
        Discriminator(CONFIG, CLASSES)(*inputs(), with_features=True)


@pytest.mark.parametrize("count", [2, 8])  # less than a group, and two of them
@pytest.mark.parametrize("layout", ["contiguous", "strided"])
def test_both_batches_at_once_are_judged_as_each_alone(layout: str, count: int) -> None:
    settings = replace(CONFIG.discriminator, mbstd_layout=layout)
    discriminator = Discriminator(replace(CONFIG, discriminator=settings), CLASSES, FEATURES).double()
    images, c = torch.randn(2 * count, 4, 16, 16).double(), torch.randn(2 * count, CLASSES).double()
    patches = Patches(torch.rand(2 * count, 1).expand(-1, 2), torch.rand(2 * count, 2)).to(
        dtype=torch.float64
    )
    fake, real = (Shown(images[part], patches[part], c[part]) for part in (slice(count), slice(count, None)))
    results = []
    for on_fake, on_real in (
        discriminator.both(fake, real, with_features=True),
        (discriminator(*fake), discriminator(*real, with_features=True)),
    ):
        loss = on_fake.logits.square().sum() - 2 * on_real.logits.sum() + on_real.features.square().sum()
        slopes = torch.autograd.grad(loss, list(discriminator.parameters()))
        results.append([on_fake.logits, on_real.logits, on_real.features, *slopes])
    torch.testing.assert_close(*results, rtol=1e-9, atol=1e-9)
    assert discriminator.both(fake, real)[1].features is None


def test_both_batches_have_one_size(discriminator: Discriminator) -> None:
    with pytest.raises(ValueError, match=r"real\.images"):
        discriminator.both(Shown(*inputs(4)), Shown(*inputs(8)))


def test_every_parameter_learns(discriminator: Discriminator) -> None:
    judged = discriminator(*inputs(), with_features=True)
    (judged.logits.sum() + judged.features.square().sum()).backward()
    unlearnt = [
        n for n, p in discriminator.named_parameters() if p.grad is None or not p.grad.abs().max() > 0
    ]
    assert unlearnt == []


@pytest.mark.parametrize("classes", [0, 1])
def test_fewer_than_two_classes_make_an_unconditional_discriminator(classes: int) -> None:
    network = Discriminator(CONFIG, classes)
    images, patches, c = inputs()
    assert torch.equal(network(images, patches, None).logits, network(images, patches, c).logits)


def test_conditional_discriminator_refuses_missing_and_misshapen_input(discriminator: Discriminator) -> None:
    images, patches, c = inputs()
    with pytest.raises(TypeError, match="c"):
        discriminator(images, patches, None)
    with pytest.raises(ValueError, match="images"):
        discriminator(images[:, :3], patches, c)
    with pytest.raises(ValueError, match="patches"):
        discriminator(images, full_patch(3), c)


@pytest.mark.parametrize(("patch", "full"), [(32, 32), (16, 32), (8, 64)])
def test_start_blocks_keep_the_patch_size(patch: int, full: int) -> None:
    config = replace(
        CONFIG,
        patch=replace(CONFIG.patch, resolution=patch),
        training=replace(CONFIG.training, resolution=full),
    )
    network = Discriminator(config, CLASSES)
    sizes: list[int] = []
    for block in network.blocks:
        block.register_forward_hook(lambda _, __, output: sizes.append(output.shape[-1]))
    network(torch.randn(4, 4, patch, patch), full_patch(4), torch.eye(CLASSES))
    starts = (full // patch).bit_length() - 1
    assert sizes[:starts] == [patch] * starts
    assert sizes[starts:] == [patch >> i for i in range(1, len(sizes) - starts + 1)]
    assert sizes[-1] == 4


@pytest.mark.parametrize(("patch", "full"), [(4, 32), (24, 48), (64, 32), (16, 48)])
def test_resolutions_that_do_not_fit_are_refused(patch: int, full: int) -> None:
    config = replace(
        CONFIG,
        patch=replace(CONFIG.patch, resolution=patch),
        training=replace(CONFIG.training, resolution=full),
    )
    with pytest.raises(ValueError, match="expected a power of two"):
        Discriminator(config, CLASSES)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_half_precision_agrees_with_full_precision_on_the_gpu(discriminator: Discriminator) -> None:
    mixed = Discriminator(
        replace(CONFIG, training=replace(CONFIG.training, precision="mixed")), CLASSES, FEATURES
    )
    mixed.load_state_dict(discriminator.state_dict())
    images, patches, c = inputs()
    arguments = images.cuda(), patches.to("cuda"), c.cuda()
    found, expected = mixed.cuda()(*arguments).logits, discriminator.cuda()(*arguments).logits
    torch.testing.assert_close(found, expected, rtol=2e-2, atol=2e-2)
    assert not torch.equal(found, expected)


@pytest.mark.parametrize("depth", [True, False])
def test_without_depth_nothing_of_it_counts(depth: bool) -> None:
    config = replace(CONFIG, discriminator=replace(CONFIG.discriminator, depth=depth))
    network = Discriminator(config, CLASSES, FEATURES)
    images, patches, c = inputs()
    other = torch.cat([images[:, :3], 1 - images[:, 3:]], dim=1)
    assert torch.equal(network(images, patches, c).logits, network(other, patches, c).logits) != depth
    images.requires_grad_()
    (gradient,) = torch.autograd.grad(network(images, patches, c).logits.sum(), images)
    assert bool((gradient[:, 3] == 0).all()) != depth
    assert (gradient[:, :3] != 0).any(dim=(0, 2, 3)).all()
    assert network.from_image.weight.shape[1] == (4 if depth else 3)


def test_default_discriminator_has_the_published_parameters_less_the_dead_ones() -> None:
    with torch.device("meta"):
        network = Discriminator(PRESETS["dogs-256"], 1000, 2048)
    dead = sum((4 + 1) * channels for channels in (256, 512, 512, 512, 512))  # image inputs of later blocks
    found = sum(p.numel() for p in network.parameters())
    assert found == 38_287_232
    assert round((found + dead) / 1e6, 2) == 38.30


def of_images(**changes: int) -> ImageDiscriminator:
    sizes = {"resolution": 16, "image_channels": 3, "c_dim": 0, "channel_base": 256, "channel_max": 16}
    return ImageDiscriminator(**(sizes | changes))


def test_permuting_images_with_their_groups_permutes_the_judgements_of_whole_images() -> None:
    network = of_images(c_dim=CLASSES, feature_dim=5)
    images, c = torch.randn(8, 3, 16, 16), torch.randn(8, CLASSES)
    order = torch.tensor([5, 4, 7, 6, 1, 0, 3, 2])  # strided groups {0,2,4,6} and {1,3,5,7} change places
    judged, permuted = (
        network(images, c, with_features=True),
        network(images[order], c[order], with_features=True),
    )
    torch.testing.assert_close(permuted.logits, judged.logits[order])
    torch.testing.assert_close(permuted.features, judged.features[order])
    other = torch.tensor([1, 0, 2, 3, 4, 5, 6, 7])  # one of a group changes with one of the other
    assert not torch.allclose(network(images[other], c[other]).logits, judged.logits[other], atol=1e-5)


def test_a_discriminator_of_whole_images_without_condition_makes_the_logit_in_its_last_layer() -> None:
    network = of_images()
    assert network.output.weight.shape[0] == 1
    assert network(torch.randn(4, 3, 16, 16)).logits.shape == (4,)
    conditional = of_images(c_dim=2)
    images = torch.randn(4, 3, 16, 16)
    first, second = (conditional(images, torch.eye(2)[[k] * 4]).logits for k in (0, 1))
    assert not torch.allclose(first, second, atol=1e-4)
    with pytest.raises(TypeError, match="c: "):
        conditional(images)


def test_a_discriminator_of_whole_images_refuses_others() -> None:
    with pytest.raises(ValueError, match="power of two"):
        of_images(resolution=24)
    with pytest.raises(ValueError, match=r"\[B=4, 3, 16, 16\]"):
        of_images()(torch.randn(4, 4, 16, 16))
