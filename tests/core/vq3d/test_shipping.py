"""Tokenizers and priors in half the bytes: the same scenes, and what cannot be shipped."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gp3d_core.config.assignments import override
from gp3d_core.hashing import digest
from gp3d_core.snapshots.metadata import SnapshotError
from gp3d_core.vq3d.files.export import ship
from gp3d_core.vq3d.files.metadata import find_prior, find_tokenizer
from gp3d_core.vq3d.files.prior_file import TOKENIZER, build_prior, load_prior, save_prior
from gp3d_core.vq3d.files.tokenizer_file import load_tokenizer, save_tokenizer
from gp3d_core.vq3d.models.prior import Sampling
from gp3d_core.vq3d.models.tokenizer import Tokenizer
from gp3d_core.vq3d.presets import PRESETS, resolve
from gp3d_core.vq3d.rendering.views import input_pose

CONFIG = resolve("tiny32", ["prior.layers=1", "prior.heads=2", "prior.width=32"])
CLASSES = [{"label": 0, "name": "mug"}]


def test_shipped_tokenizer_sees_the_same_in_half_the_bytes(tmp_path):
    torch.manual_seed(0)
    tokenizer = Tokenizer(CONFIG).eval()
    save_tokenizer(tmp_path / "whole.safetensors", tokenizer, CONFIG, CLASSES, 8)
    ship(tmp_path / "whole.safetensors", tmp_path / "half.safetensors")
    sizes = [(tmp_path / f"{name}.safetensors").stat().st_size for name in ("whole", "half")]
    assert sizes[1] < 0.55 * sizes[0]
    half = load_tokenizer(tmp_path / "half.safetensors")
    assert (half.config, half.classes, half.nimg) == (CONFIG, CLASSES, 8)
    images = torch.rand(4, 3, 32, 32)
    codes = tokenizer.encode(images).codes
    assert (half.tokenizer.encode(images).codes == codes).float().mean() > 0.95
    one, other = (t.render(t.decode(codes), input_pose(4)) for t in (tokenizer, half.tokenizer))
    assert torch.allclose(one.rgb, other.rgb, atol=0.01)
    assert not torch.equal(one.rgb, other.rgb)


def test_shipped_prior_still_speaks_of_its_tokenizer(tmp_path):
    torch.manual_seed(0)
    save_tokenizer(tmp_path / TOKENIZER, Tokenizer(CONFIG), CONFIG, CLASSES, 8)
    whole, half = tmp_path / "prior.safetensors", tmp_path / "half.safetensors"
    save_prior(whole, build_prior(CONFIG, 1), CONFIG, CLASSES, 4, digest(tmp_path / TOKENIZER))
    ship(whole, half)
    assert half.stat().st_size < 0.6 * whole.stat().st_size
    seeds = [0, 1, 2]
    one, other = (load_prior(path).sample("mug", seeds, Sampling()) for path in (whole, half))
    assert (one == other).float().mean() > 0.9
    save_tokenizer(tmp_path / TOKENIZER, Tokenizer(CONFIG), CONFIG, CLASSES, 8)
    with pytest.raises(SnapshotError, match="predicts the codes of tokenizer"):
        ship(whole, tmp_path / "other.safetensors")
    assert not (tmp_path / "other.safetensors").exists()


def test_what_cannot_be_shipped_is_refused_and_leaves_nothing(tmp_path):
    tokenizer = Tokenizer(CONFIG)
    with torch.no_grad():
        tokenizer.field_decoder.layers[0].weight[0, 0] = 1e30
    save_tokenizer(tmp_path / "wild.safetensors", tokenizer, CONFIG, [], 0)
    with pytest.raises(
        SnapshotError, match=r"field_decoder.layers.0.weight holds numbers that half precision cannot"
    ):
        ship(tmp_path / "wild.safetensors", tmp_path / "out.safetensors")
    with pytest.raises(SnapshotError, match=r"expected the name of a .safetensors file"):
        ship(tmp_path / "wild.safetensors", tmp_path / "out.bin")
    (tmp_path / "text.safetensors").write_text("no weights")
    with pytest.raises(SnapshotError, match="truncated or not a safetensors file"):
        ship(tmp_path / "text.safetensors", tmp_path / "out.safetensors")
    assert not list(tmp_path.glob("out*"))
    own = tmp_path / "own.safetensors"
    save_tokenizer(own, Tokenizer(CONFIG), CONFIG, [], 0)
    before = own.read_bytes()
    with pytest.raises(SnapshotError, match="is the model itself"):
        ship(own, own)
    assert own.read_bytes() == before


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_presets_fit_together(name):
    assert resolve(name).preset == name


@pytest.mark.parametrize("key", ["decoder.width", "decoder.field_width", "encoder.width"])
def test_header_that_asks_for_a_giant_is_refused_before_anything_is_made(tmp_path, key, monkeypatch):
    path = tmp_path / "t.safetensors"
    save_tokenizer(path, Tokenizer(CONFIG), override(CONFIG, f"{key}=12000000"), [], 0)
    made = []
    monkeypatch.setattr(torch.nn.Linear, "__init__", watching(torch.nn.Linear.__init__, made))
    with pytest.raises(SnapshotError, match="another architecture"):
        load_tokenizer(path)
    assert set(made) == {"meta"}


def watching(original, made):
    def init(self, *args, **kwargs):
        original(self, *args, **kwargs)
        made.append(self.weight.device.type)

    return init


def test_the_word_box_is_the_box_whatever_lies_about(tmp_path, monkeypatch):
    (tmp_path / "box").write_text("something else")
    monkeypatch.chdir(tmp_path)
    assert find_tokenizer(Path("box")).parts[-3:] == ("pretrained", "vq3d", "tokenizer.safetensors")
    assert find_prior(Path("box")).parts[-3:] == ("pretrained", "vq3d", "prior.safetensors")
    assert find_tokenizer(tmp_path / "box") == tmp_path / "box"
    with pytest.raises(SnapshotError, match="no tokenizer or prior at nope"):
        ship(Path("nope"), tmp_path / "new" / "out.safetensors")
    assert not (tmp_path / "new").exists()
