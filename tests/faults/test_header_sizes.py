"""No number in the header of a model, however large, keeps its reader busy or takes memory."""

from __future__ import annotations

import resource
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from gp3d_core.baselines.generators import make_generator
from gp3d_core.config import presets
from gp3d_core.config.schema import RunConfig, flatten, from_dict, to_dict
from gp3d_core.config.validation import check_config
from gp3d_core.errors import GP3DError
from gp3d_core.snapshots.snapshot import described
from gp3d_core.vq3d import presets as vq3d_presets
from gp3d_core.vq3d.config import Vq3dConfig, parse_config
from gp3d_core.vq3d.files.prior_file import build_prior
from gp3d_core.vq3d.models.tokenizer import Tokenizer
from tests.support.limits import limited_seconds
from tests.support.tasks import VQ3D

pytestmark = pytest.mark.slow
HUGE = (10**6, 2**31, 2**63)
SYSTEMS = {preset.system: preset for preset in presets.PRESETS.values()}
MOST_GROWTH = 256 << 10  # KiB


def with_huge_numbers(config: Any) -> dict[str, dict[str, Any]]:
    """The configuration with each of its whole numbers in turn a huge one, by the name of the change."""
    found = {}
    for key, value in flatten(config).items():
        for huge in HUGE if type(value) is int else ():
            changed = place = to_dict(config)
            *way, last = key.split(".")
            for name in way:
                place = place[name]
            place[last] = huge
            found[f"{key} = {huge}"] = changed
    return found


def read_all(config: Any, read: Callable[[dict[str, Any]], object]) -> list[str]:
    """What took more than five seconds, or ended otherwise than a file is refused that has no such tensors."""
    odd = []
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    changes = with_huge_numbers(config)
    for change, data in changes.items():
        try:
            with limited_seconds(5), suppress(GP3DError):
                read(data)
        except Exception as error:  # whatever it is, it is what we look for
            odd.append(f"{change}: {type(error).__name__} {error}")
    assert len(changes) > 30
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return odd + ([f"memory grew by {grown >> 10} MiB"] if grown > MOST_GROWTH else [])


@pytest.mark.parametrize("system", SYSTEMS)
def test_of_a_generator(system: str) -> None:
    kind: type[RunConfig] = type(SYSTEMS[system])

    def read(data: dict[str, Any]) -> object:
        config = from_dict(data, kind)
        check_config(config)
        return described("generator", lambda: make_generator(config, num_classes=2), {}, Path("a"))

    assert read_all(SYSTEMS[system], read) == []


@pytest.mark.parametrize("kind", ["tokenizer", "prior"])
def test_of_scenes(kind: str) -> None:
    def make(config: Vq3dConfig) -> torch.nn.Module:
        return Tokenizer(config) if kind == "tokenizer" else build_prior(config, 2)

    def read(data: dict[str, Any]) -> object:
        config = parse_config(data)
        return described(kind, lambda: make(config), {}, Path("a"))

    assert read_all(vq3d_presets.resolve("tiny32", VQ3D), read) == []
