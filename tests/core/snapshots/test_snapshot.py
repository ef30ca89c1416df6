"""Snapshots and checkpoints: exact round trip, and one clear line for every way a file can be wrong."""

import json
import os
import stat

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from gp3d_core.networks.latents import one_hot
from gp3d_core.rendering.cameras import sample_cameras
from gp3d_core.snapshots.snapshot import (
    SnapshotError,
    load_checkpoint,
    load_snapshot,
    save_checkpoint,
    save_snapshot,
    save_tensors,
    write_tensors,
)
from tests.support.micro import micro_state


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    return micro_state(tmp_path_factory.mktemp("data"))


@pytest.fixture
def path(state, tmp_path):
    save_snapshot(tmp_path / "s.safetensors", state.ema, state.config, state.classes, 1234)
    return tmp_path / "s.safetensors"


def header_of(path):
    with safe_open(path, framework="pt") as file:
        return file.metadata()


def test_snapshot_gives_the_same_pictures(state, path):
    loaded = load_snapshot(path)
    z, c = torch.randn(2, 8, generator=torch.Generator().manual_seed(0)), one_hot(torch.tensor([0, 1]), 2)
    cameras = sample_cameras(state.config.camera, 2, torch.Generator().manual_seed(1))
    ours, theirs = state.ema(z, c, cameras), loaded.generator(z, c, cameras)
    assert torch.equal(ours.rgb, theirs.rgb)
    assert torch.equal(ours.depth, theirs.depth)
    assert (loaded.config, loaded.classes, loaded.nimg) == (state.config, state.classes, 1234)
    assert not loaded.generator.training


def test_failed_save_leaves_the_old_file_whole(state, path, monkeypatch):
    before = path.read_bytes()

    def full_disk(_tensors, target, metadata):
        target.write_bytes(b"half")
        raise OSError(28, "No space left on device", str(target))

    monkeypatch.setattr("gp3d_core.snapshots.snapshot.save_file", full_disk)
    with pytest.raises(OSError, match="No space left"):
        save_snapshot(path, state.ema, state.config, state.classes, 9)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def rewrite(path, change_header=None, change_tensors=None):
    tensors, header = load_file(path), header_of(path)
    if change_header:
        change_header(header)
    if change_tensors:
        change_tensors(tensors)
    save_file(tensors, path, metadata=header)


def facts_changed(change):
    """Damage for a snapshot: `change` to the facts of its header."""

    def damage(header):
        facts = json.loads(header["facts"])
        change(facts)
        header["facts"] = json.dumps(facts)

    return lambda path: rewrite(path, damage)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda p: p.unlink(), "no snapshot at"),
        (lambda p: p.write_bytes(p.read_bytes()[:-100]), "truncated or not a safetensors file"),
        (lambda p: p.write_bytes(b"hello"), "truncated or not a safetensors file"),
        (lambda p: p.write_bytes(b""), "truncated or not a safetensors file"),
        (
            lambda p: rewrite(p, lambda h: h.update(version="7")),
            "expected gp3d-snapshot version 1, found gp3d-snapshot",
        ),
        (lambda p: rewrite(p, lambda h: h.clear()), "found no format: it is none of GP3D's$"),
        (lambda p: rewrite(p, lambda h: h.update(format="gp3d-checkpoint")), "found gp3d-checkpoint"),
        (lambda p: rewrite(p, lambda h: h.update(facts="{")), "header is damaged"),
        (lambda p: rewrite(p, lambda h: h.update(facts="[" * 100_000)), "header is damaged"),
        (facts_changed(lambda f: f["config"].pop("loss")), "another version of gp3d"),
        (facts_changed(lambda f: f.update(config=[])), "another version of gp3d"),
        (
            facts_changed(lambda f: f["config"]["training"].update(batch=3)),
            "training.batch 3 is not a multiple",
        ),
        (facts_changed(lambda f: f["config"]["training"].update(resolution=17)), "training.resolution"),
        (facts_changed(lambda f: f.pop("nimg")), "nimg"),
        (
            facts_changed(lambda f: f.update(nimg="x")),
            "nimg: expected a whole number of at least 0, found 'x'",
        ),
        (facts_changed(lambda f: f.update(nimg=-1)), "nimg: expected a whole number of at least 0"),
        (facts_changed(lambda f: f.update(nimg=True)), "nimg: expected a whole number of at least 0"),
        (facts_changed(lambda f: f.update(classes={"0": "mug"})), "classes: expected a list of records"),
        (facts_changed(lambda f: f.update(classes=["mug", "cup"])), "classes: expected label 0 and a name"),
        (facts_changed(lambda f: f["classes"].reverse()), "classes: expected label 0 and a name"),
        (facts_changed(lambda f: f["classes"][1].pop("name")), "classes: expected label 1 and a name"),
        (
            lambda p: rewrite(p, None, lambda t: t.pop("mapping.w_avg")),
            "another architecture: it lacks mapping.w_avg",
        ),
        (lambda p: rewrite(p, None, lambda t: t.update(extra=torch.zeros(1))), "unknown extra"),
        (
            lambda p: rewrite(p, None, lambda t: t.update({"mapping.w_avg": torch.zeros(3)})),
            r"w_avg is \[3\]",
        ),
    ],
)
def test_unusable_snapshot_is_one_clear_line(path, damage, message):
    damage(path)
    with pytest.raises(SnapshotError, match=message) as caught:
        load_snapshot(path)
    assert "\n" not in str(caught.value)


def test_a_snapshot_that_may_not_be_read_is_a_matter_of_rights(path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(type(path), "open", refuse)
    with pytest.raises(SnapshotError, match=r"may not be read \(Permission denied\); ask its owner"):
        load_snapshot(path)


def test_checkpoint_restores_weights_and_moments(state, tmp_path):
    for parameter in state.generator.parameters():
        parameter.grad = torch.ones_like(parameter)
    state.generator_optimizer.step()
    save_checkpoint(tmp_path / "c.safetensors", state.modules, state.optimizers, {"nimg": 8})
    other = micro_state(tmp_path / "data", "training.seed=1")
    assert load_checkpoint(tmp_path / "c.safetensors", other.modules, other.optimizers) == {"nimg": 8}
    for name, module in state.modules.items():
        for key, value in module.state_dict().items():
            assert torch.equal(value, other.modules[name].state_dict()[key]), key
    ours, theirs = (s.generator_optimizer.state_dict()["state"] for s in (state, other))
    assert ours.keys() == theirs.keys()
    assert len(ours) > 0
    assert all(torch.equal(ours[k][m], theirs[k][m]) for k in ours for m in ours[k])


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_files_may_be_read_by_whom_the_system_says(tmp_path):
    (tmp_path / "plain").write_text("as any program would")
    save_tensors(tmp_path / "t.safetensors", "gp3d-test", {"a": torch.zeros(2)}, {})
    assert (tmp_path / "t.safetensors").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("z_dim", 10**400),
        ("w_dim", 10**12),
        ("known_objects", 10**15),
        ("plane_channels", 10**9),
        ("channel_max", 2**40),
    ],
)
def test_a_header_that_asks_for_more_than_the_file_holds_takes_no_memory(path, tmp_path, key, value):
    """The sizes would fill any machine; they are compared with the tensors of the file before any are made."""
    header, tensors = header_of(path), load_file(path)
    facts = json.loads(header["facts"])
    facts["config"]["generator"] |= {key: value, "channel_base": 2**44 if key == "channel_max" else 1024}
    save_file(tensors, tmp_path / "large.safetensors", header | {"facts": json.dumps(facts)})
    with pytest.raises(SnapshotError, match=r"is of another architecture|describes no generator") as error:
        load_snapshot(tmp_path / "large.safetensors")
    assert "\n" not in str(error.value)


def test_tensors_of_any_kind_may_be_read_by_whom_the_umask_lets(tmp_path):
    before = os.umask(0o022)
    try:
        write_tensors(tmp_path / "a.safetensors", {"a": torch.ones(2)})
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.safetensors").stat().st_mode) == 0o644


def test_a_loaded_model_does_not_change_with_its_file(state, path):
    loaded = load_snapshot(path).generator
    before = {name: value.clone() for name, value in loaded.state_dict().items()}
    with path.open("r+b") as file:  # in place, as a copy over it would
        size = path.stat().st_size
        file.seek(size // 2)
        file.write(bytes(size - size // 2))
    assert all(torch.equal(value, before[name]) for name, value in loaded.state_dict().items())
