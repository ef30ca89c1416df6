"""Names of the recorded tensors' parameters in terms of ours, and comparisons of whole networks' gradients by them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from tests.core.parity.parity_fixtures import Close
from tests.support.sketches import Sketch

Recorded = TypeVar("Recorded", Tensor, Sketch, float)
Renaming = tuple[str, str | Callable[[re.Match[str]], str]]

UNUSED = re.compile(  # filters and schedules that are constants here; inputs of blocks that see no image
    r"resample_filter$|progress_coef$|fourier_coefs$|^(b\d+\.)?fromrgb\."
)


@dataclass(frozen=True)
class Names:
    """Patterns and their replacements, which together turn a recorded name into ours."""

    renamings: tuple[Renaming, ...]

    def ours(self, tensors: Mapping[str, Recorded]) -> dict[str, Recorded]:
        """`tensors` under our names; those without a counterpart are left out."""
        renamed = {}
        for name, tensor in tensors.items():
            for pattern, replacement in self.renamings:
                name = re.sub(pattern, replacement, name)
            if not UNUSED.search(name):
                renamed[name] = tensor
        return renamed


GENERATOR_NAMES = Names(
    (
        (r"^mapping\.embed", "mapping.network.embed"),
        (r"^mapping\.fc", "mapping.network.layers."),
        (r"^synthesis\.tri_plane_decoder\.b4\.const$", "backbone.const"),
        (
            r"^synthesis\.tri_plane_decoder\.b(\d+)\.",
            lambda m: f"backbone.blocks.{int(m[1]).bit_length() - 3}.",
        ),
        (r"\.torgb\.affine\.", ".to_planes.conv.style."),
        (r"\.torgb\.weight$", ".to_planes.conv.weight"),
        (r"\.torgb\.", ".to_planes."),
        (r"^(backbone.*)\.(conv\d)\.affine\.", r"\1.\2.conv.style."),
        (r"^(backbone.*)\.(conv\d)\.weight$", r"\1.\2.conv.weight"),
        (r"^synthesis\.tri_plane_mlp\.model\.0", "decoder.hidden"),
        (r"^synthesis\.tri_plane_mlp\.model\.1", "decoder.output"),
        (r"^synthesis\.camera_adaptor\.(\w+)_adaptor\.", r"camera_generator.\1."),
        (r"\.project_params\.", ".embed_parameters."),
        (r"\.project_([zc])\.", r".embed_\1."),
        (r"^(camera_generator\.\w+)\.main\.0\.", r"\1.hidden."),
        (r"^(camera_generator\.\w+)\.main\.1\.", r"\1.output."),
        (r"^synthesis\.depth_adaptor\.near_plane_offset_raw$", "depth_adaptor.near_offset"),
        (r"^synthesis\.", ""),
    )
)

CAMERA_GENERATOR_NAMES = Names(
    ((r"^", "synthesis.camera_adaptor."), *GENERATOR_NAMES.renamings, (r"^camera_generator\.", ""))
)


def discriminator_names(resolution: int) -> Names:
    """Names of a discriminator of images of `resolution`²: its blocks go by the resolution they begin at."""
    first = resolution.bit_length()
    return Names(
        (
            (r"^scalar_enc\.const_embed\.", "encoding.table."),
            (r"^hyper_mod_mapping\.", "hyper."),
            (r"^head_mapping\.", "projection."),
            (r"\.fc(\d)\.", r".layers.\1."),
            (r"^b4\.out\.", "output."),
            (r"^b4\.feat_out\.", "feature_head."),
            (r"^b4\.", ""),
            (rf"^b{resolution}\.fromrgb\.", "from_image."),
            (r"^b(\d+)\.(?!fromrgb)", lambda m: f"blocks.{first - int(m[1]).bit_length()}."),
            (r"\.conv1\.affine\.", ".modulation."),
        )
    )


def load_weights(module: nn.Module, tensors: Mapping[str, Tensor], names: Names) -> None:
    """Fills `module` with recorded weights; every parameter and buffer must be among them, and nothing else."""
    module.load_state_dict(names.ours(tensors), strict=True)


def gradients(module: nn.Module) -> dict[str, Tensor]:
    """Gradients by parameter name, for parameters that have one."""
    return {name: p.grad for name, p in module.named_parameters() if p.grad is not None}


def check_gradients(
    close: Close, module: nn.Module, expected: Mapping[str, Tensor | Sketch], *, partly: bool = False
) -> None:
    """Every recorded gradient is met, and none of the module's is missing unless they were recorded `partly`."""
    found = gradients(module)
    assert expected
    assert partly or set(found) <= set(expected), set(found) - set(expected)
    for name, gradient in expected.items():
        close(found.get(name, torch.zeros(gradient.shape)), gradient, "gradient")


def check_norms(module: nn.Module, expected: dict[str, float], names: Names) -> None:
    """The gradient norm of every parameter: as recorded, and zero or none where nothing was recorded."""
    renamed = names.ours({name: torch.tensor(norm) for name, norm in expected.items()})
    found = gradients(module)
    scale = max(expected.values())
    for name, parameter in module.named_parameters():
        norm = found[name].norm() if name in found else parameter.new_zeros(())
        recorded = renamed.pop(name, torch.zeros(()))
        assert abs(norm - recorded) <= 1e-3 * norm + 1e-6 * scale, f"{name}: {norm}, recorded {recorded}"
    assert not renamed, renamed
