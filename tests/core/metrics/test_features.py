"""Networks that look at images for a score: the right one, its weights read safely, or a clear refusal."""

from __future__ import annotations

import importlib.util
import pickle
import sys
import urllib.error
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from gp3d_core.metrics import features
from gp3d_core.metrics.features import SQUEEZENET, FeaturesError, build_inception, open_network
from gp3d_core.networks.foreign_weights import WeightsError, read_weights
from gp3d_core.networks.squeezenet import SqueezeNet

CPU = torch.device("cpu")


def squeezenet_weights(path: Path, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    save_file(SqueezeNet().state_dict(), path)
    return path


def some_images(count: int = 2, size: int = 224) -> torch.Tensor:
    return torch.randint(
        0, 256, (count, 3, size, size), generator=torch.Generator().manual_seed(1), dtype=torch.uint8
    )


@pytest.mark.slow
def test_squeezenet_sees_images_normalised_as_torchvision_does(tmp_path) -> None:
    path = squeezenet_weights(tmp_path / "weights.safetensors")
    network = open_network(features.SQUEEZENET, path, CPU)
    images = some_images()
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    normalised = (images / 255 - mean[:, None, None]) / std[:, None, None]
    plain = SqueezeNet()
    plain.load_state_dict(read_weights(path))
    plain.eval()
    found, scores = network(images)
    torch.testing.assert_close(found, plain.embed(normalised))
    torch.testing.assert_close(scores, plain(normalised))
    assert (found.shape, scores.shape) == ((2, 512), (2, 1000))


def test_images_are_looked_at_in_parts_whose_maps_stay_small(tmp_path) -> None:
    """The largest map of SqueezeNet below 16 MiB; what comes out belongs to its image, as for each image alone."""
    images = some_images(count=7, size=64)
    found = open_network(SQUEEZENET, squeezenet_weights(tmp_path / "squeezenet.safetensors"), CPU)
    sizes = []

    def look(part: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        sizes.append(len(part))
        return found.look(part)

    features, scores = replace(found, look=look)(images)
    assert sum(sizes) == 7
    assert max(sizes) * 96 * 109 * 109 * 4 < 2**24
    for i, image in enumerate(images):
        alone = found(image[None])
        assert torch.allclose(features[i], alone[0][0], rtol=1e-4, atol=1e-6)
        assert torch.allclose(scores[i], alone[1][0], rtol=1e-4, atol=1e-6)


def test_images_of_any_size_are_resized_with_antialiasing(tmp_path) -> None:
    """Stripes average to grey; bilinear sampling without antialiasing would see the dark half only."""
    network = open_network(features.SQUEEZENET, squeezenet_weights(tmp_path / "w.safetensors"), CPU)
    stripes = torch.zeros(1, 3, 896, 896, dtype=torch.uint8)
    stripes[..., ::4] = stripes[..., 3::4] = 254
    grey = torch.full((1, 3, 224, 224), 127, dtype=torch.uint8)
    found, expected, dark = (network(images)[0] for images in (stripes, grey, torch.zeros_like(grey)))
    assert (found - expected).norm() < 0.1 * (dark - expected).norm()


def test_a_stand_in_is_named_in_every_score(tmp_path) -> None:
    path = squeezenet_weights(tmp_path / "w.safetensors")
    network = open_network(features.SQUEEZENET, path, CPU)
    other = open_network(features.SQUEEZENET, squeezenet_weights(tmp_path / "v.safetensors", seed=1), CPU)
    assert network.prefix == "squeezenet-"
    assert "not comparable with FID" in network.facts["network"]
    assert network.weights == network.facts["weights_sha256"] != other.weights


def test_weights_of_another_network_are_refused(tmp_path) -> None:
    tensors = SqueezeNet().state_dict()
    save_file({k: v for k, v in tensors.items() if k != "classifier.1.bias"}, tmp_path / "less.safetensors")
    save_file(tensors | {"features.0.weight": torch.zeros(96, 3, 3, 3)}, tmp_path / "shape.safetensors")
    (tmp_path / "noise.safetensors").write_bytes(b"noise")
    cases = [
        ("less", "lacks classifier.1.bias"),
        ("shape", r"\[96, 3, 7, 7\], found \[96, 3, 3, 3\]"),
        ("noise", "expected a safetensors file"),
        ("none", "no weights at"),
    ]
    for name, message in cases:
        with pytest.raises(WeightsError, match=message):
            open_network(features.SQUEEZENET, tmp_path / f"{name}.safetensors", CPU)


def test_a_network_without_weights_or_of_another_name_is_refused() -> None:
    with pytest.raises(FeaturesError, match="`weights` FILE"):
        open_network(features.SQUEEZENET, None, CPU)
    with pytest.raises(FeaturesError, match="expected one of inception, torchvision:squeezenet1_0"):
        open_network("vgg", None, CPU)


class Trap:
    """An object whose unpickling makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_files_of_weights_cannot_run_code(tmp_path) -> None:
    sprung = tmp_path / "sprung"
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Trap(sprung), protocol=2))
    torch.save({"weights": Trap(sprung)}, tmp_path / "zipped.pth")
    for name in ("plain.pth", "zipped.pth"):
        with pytest.raises(WeightsError, match=rf"{name}: expected .* \(it holds something else\)"):
            read_weights(tmp_path / name)
    assert not sprung.exists()


def test_weights_inside_a_checkpoint_are_found(tmp_path) -> None:
    torch.save({"epoch": 3, "state_dict": {"a": torch.ones(2)}}, tmp_path / "checkpoint.pt")
    assert read_weights(tmp_path / "checkpoint.pt")["a"].tolist() == [1.0, 1.0]
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(WeightsError, match="found list"):
        read_weights(tmp_path / "list.pt")


def test_fid_without_torch_fidelity_says_what_to_do(monkeypatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    monkeypatch.delitem(sys.modules, "torch_fidelity.feature_extractor_inceptionv3", raising=False)
    with pytest.raises(FeaturesError, match=r"pip install --no-deps torch-fidelity, or choose `features`"):
        open_network(features.INCEPTION, None, CPU)


needs_fidelity = pytest.mark.skipif(
    importlib.util.find_spec("torch_fidelity") is None, reason="needs torch-fidelity (optional)"
)


@needs_fidelity
def test_fid_without_weights_or_network_says_where_they_belong(tmp_path, monkeypatch) -> None:
    def no_network(*_arguments, **_options):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    with pytest.raises(
        FeaturesError, match=r"weights-inception-2015-12-05-6726825d.pth.*no route.*--weights"
    ):
        open_network(features.INCEPTION, None, CPU)


@needs_fidelity
def test_inception_works_without_torchvision_and_takes_only_its_own_weights(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)  # importing it fails
    sys.modules.pop("torch_fidelity.feature_extractor_inceptionv3", None)
    kind = features._inception_module().FeatureExtractorInceptionV3
    assert "torch_fidelity" not in sys.modules  # the stand-in is gone
    with monkeypatch.context() as patched:  # a network with random weights, made without the real ones
        patched.setattr(torch.nn.Module, "load_state_dict", lambda *_: None)
        patched.setattr(sys.modules[kind.__module__], "load_state_dict_from_url", lambda *_, **__: None)
        torch.manual_seed(0)
        plain = kind("plain", ["2048", "logits_unbiased"])
    torch.save(plain.state_dict(), tmp_path / "inception.pth")
    network = open_network(features.INCEPTION, tmp_path / "inception.pth", CPU)
    images = some_images(2, 32)
    found, scores = network(images)
    expected, expected_scores = plain(images)
    assert torch.equal(found, expected)
    assert torch.equal(scores, expected_scores)
    assert (network.prefix, found.shape, scores.shape) == ("", (2, 2048), (2, 1008))
    with pytest.raises(FeaturesError, match="expected weights of torch-fidelity's Inception"):
        build_inception({"a": torch.zeros(1)}, tmp_path / "a.pth")
