"""How the systems that 3DGP is compared with join configuration and snapshots: the same for all of them."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import pytest
import torch

from gp3d_core.baselines.generators import make_generator
from gp3d_core.config.presets import PRESETS, resolve
from gp3d_core.config.schema import ConfigError, RunConfig, flatten, from_dict, to_dict
from gp3d_core.config.systems import CONFIGS, config_type
from gp3d_core.datasets.archive import DatasetError
from gp3d_core.datasets.dataset import batches
from gp3d_core.distributed import World
from gp3d_core.snapshots.card import page_of
from gp3d_core.snapshots.metadata import SnapshotError, read_snapshot_facts
from gp3d_core.snapshots.snapshot import load_snapshot, save_snapshot
from gp3d_core.training.gan import build_state, train_step
from gp3d_core.training.start import check_features, open_dataset
from gp3d_core.training.systems.table import make_discriminator
from tests.support.micro import MICRO, assert_same, micro_config, micro_data, weights_of
from tests.support.tiny_dataset import CLASSES

OTHERS = {name: config for name, config in PRESETS.items() if config.system != RunConfig.system}
FIRST = {config.system: name for name, config in reversed(OTHERS.items())}  # a preset of each system


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("num_classes", [55, 0])
def test_networks_of_every_preset_can_be_built(name: str, num_classes: int) -> None:
    with torch.device("meta"):
        networks = (
            make_generator(OTHERS[name], num_classes),
            make_discriminator(OTHERS[name], num_classes),
        )
    assert networks[0].c_dim == num_classes
    for network in networks:
        assert {tensor.device.type for tensor in network.state_dict().values()} == {"meta"}


def test_every_system_has_a_word_and_a_preset() -> None:
    assert {config.system for config in OTHERS.values()} == set(CONFIGS) - {RunConfig.system}
    assert all(type(config) is config_type(config.system) for config in PRESETS.values())


@pytest.mark.parametrize("system", FIRST)
def test_what_a_system_does_not_read_is_neither_settable_nor_written(system: str) -> None:
    config = PRESETS[FIRST[system]]
    kept = to_dict(config)
    for name in config.unused:
        assert name not in kept
        assert not any(f"{key}.".startswith(f"{name}.") for key in flatten(config))
        with pytest.raises(ConfigError, match=f"{system}.* has no {name}"):
            resolve(FIRST[system], [f"{name}.any=1" if "." not in name else f"{name}=1"])
    assert set(config.unused) <= {*flatten_all(config), *(f.name for f in fields(config))}
    assert from_dict(json.loads(json.dumps(kept)), type(config)) == config


def flatten_all(config: RunConfig) -> set[str]:
    """All dotted keys and groups of keys, those that the system does not read among them."""
    keys = {
        f"{f.name}.{g.name}"
        for f in fields(config)
        if hasattr(getattr(config, f.name), "__dataclass_fields__")
        for g in fields(getattr(config, f.name))
    }
    return keys


@pytest.mark.parametrize("system", FIRST)
def test_snapshot_carries_the_word_and_comes_back(system: str, tmp_path: Path) -> None:
    config = PRESETS[FIRST[system]]
    torch.manual_seed(0)
    generator = make_generator(config, len(CLASSES))
    save_snapshot(tmp_path / "model.safetensors", generator, config, CLASSES, nimg=1000)
    again = load_snapshot(tmp_path / "model.safetensors")
    assert f"A model of {system} for GP3D" in page_of(tmp_path / "model.safetensors")
    assert type(again.generator) is type(generator)
    assert again.config == config
    for name, value in generator.state_dict().items():
        assert torch.equal(again.generator.state_dict()[name], value), name


def test_word_of_an_unknown_system_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = next(iter(OTHERS.values()))
    generator = make_generator(config, 0)
    monkeypatch.setattr(type(config), "system", "tomorrow")
    save_snapshot(tmp_path / "model.safetensors", generator, config, [], nimg=0)
    monkeypatch.undo()
    with pytest.raises(SnapshotError, match="'tomorrow' is not known here, only 3dgp") as caught:
        read_snapshot_facts(tmp_path / "model.safetensors")
    assert "\n" not in str(caught.value)


def test_depth_maps_are_needed_by_those_alone_whose_discriminator_looks_at_them(tmp_path: Path) -> None:
    whole, flat = micro_data(tmp_path / "whole").path, micro_data(tmp_path / "flat").path
    for depth in flat.rglob("*_depth.png"):
        depth.unlink()
    with pytest.raises(DatasetError, match="no depth map"):
        open_dataset(micro_config(), flat, None, None)
    for name in ("tiny-epigraf", "photos-64-epigraf-wide", "photos-64-bare"):
        config = resolve(name, MICRO)
        ends = []
        for path in (whole, flat):
            state = build_state(config, open_dataset(config, path, None, None), World())
            steps = batches(
                open_dataset(config, path, None, None), nimg=0, batch=4, part=slice(0, 4), seed=0, mirror=True
            )
            for _ in range(2):
                train_step(state, next(steps), World())
            ends.append(weights_of(state))
        assert_same(*ends)


@pytest.mark.parametrize("system", FIRST)
def test_features_that_nobody_looks_at_are_refused(system: str, tmp_path: Path) -> None:
    config, file = PRESETS[FIRST[system]], tmp_path / "features.f32"
    if {"loss.distillation_weight", "loss"} & set(config.unused):
        with pytest.raises(ConfigError, match=f"{config.preset} distils no features; leave them away"):
            check_features(config, file)
    else:
        check_features(config, file)
    check_features(config, None)
