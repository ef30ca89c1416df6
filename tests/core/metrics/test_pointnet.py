"""PointNet and PointNet++ against slow implementations in numpy, and the files they accept."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from gp3d_core.metrics.pointnet import (
    PointNet,
    PointNet2,
    SetAbstraction,
    ball_neighbours,
    cloud_features,
    farthest_points,
    load_pointnet,
)
from gp3d_core.networks.foreign_weights import WeightsError


def stirred(network):
    """The network in evaluation mode with random weights and running statistics."""
    draws = torch.Generator().manual_seed(1)
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point():
            value = torch.rand(tensor.shape, generator=draws) - 0.5
            tensor.copy_(value + 1 if name.endswith("var") else value)
    return network.eval()


@pytest.fixture(scope="module")
def clouds():
    return torch.randn(3, 600, 3, generator=torch.Generator().manual_seed(0)) * 0.3


def layer(x, tensors, linear, norm):
    """Linear layer, batch normalisation, ReLU on rows [..., C] in float64."""
    weight = tensors[f"{linear}.weight"].double().numpy()
    x = x @ weight.reshape(len(weight), -1).T + tensors[f"{linear}.bias"].double().numpy()
    mean, var, gain, bias = (
        tensors[f"{norm}.{part}"].double().numpy()
        for part in ("running_mean", "running_var", "weight", "bias")
    )
    return np.maximum((x - mean) / np.sqrt(var + 1e-5) * gain + bias, 0)


def test_pointnet_equals_numpy(clouds):
    network = stirred(PointNet(40))
    tensors = network.state_dict()
    x = clouds.double().numpy()
    for i in range(1, 6):
        x = layer(x, tensors, f"feature_model.conv{i}", f"feature_model.bn{i}")
    x = layer(layer(x.max(axis=1), tensors, "linear1", "bn1"), tensors, "linear2", "bn2")
    logits = x @ tensors["linear3.weight"].double().numpy().T + tensors["linear3.bias"].double().numpy()
    features, found = network(clouds)
    np.testing.assert_allclose(features.detach(), x, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.detach(), logits, rtol=1e-4, atol=1e-5)


def slow_abstraction(points, features, tensors, prefix, centres, radius, most):
    """One set abstraction of one cloud [P,3], point by point."""
    chosen, nearest = [int((points**2).sum(1).argmax())], np.full(len(points), np.inf)
    while len(chosen) < centres:
        nearest = np.minimum(nearest, np.linalg.norm(points - points[chosen[-1]], axis=1))
        chosen.append(int(nearest.argmax()))
    rows = []
    for centre in points[chosen]:
        near = np.flatnonzero(np.linalg.norm(points - centre, axis=1) <= radius)[:most]
        group = points[near] - centre
        if features is not None:
            group = np.concatenate([group, features[near]], axis=1)
        for i in range(3):
            group = layer(group, tensors, f"{prefix}.mlp_convs.{i}", f"{prefix}.mlp_bns.{i}")
        rows.append(group.max(axis=0))
    return points[chosen], np.stack(rows)


def test_pointnet2_equals_numpy(clouds):
    network = stirred(PointNet2(40))
    tensors = network.state_dict()
    x = clouds[0].double().numpy()
    points, features = slow_abstraction(x, None, tensors, "sa1", 512, 0.2, 32)
    points, features = slow_abstraction(points, features, tensors, "sa2", 128, 0.4, 64)
    whole = np.concatenate([points, features], axis=1)
    for i in range(3):
        whole = layer(whole, tensors, f"sa3.mlp_convs.{i}", f"sa3.mlp_bns.{i}")
    wanted = layer(layer(whole.max(axis=0), tensors, "fc1", "bn1"), tensors, "fc2", "bn2")
    (found, other), logits = network(clouds[:2])
    assert (found - other).abs().max() > 0.1  # the clouds themselves have a say
    np.testing.assert_allclose(found.detach(), wanted, rtol=1e-3, atol=1e-4)
    assert logits.shape == (2, 40)


def test_abstraction_of_everything_is_about_the_origin():
    module = stirred(SetAbstraction((3, 8, 8)))
    points = torch.randn(2, 10, 3)
    centres, features = module(points, None)
    assert centres.abs().sum() == 0
    assert features.shape == (2, 1, 8)
    assert not torch.allclose(module(points + 1.0, None)[1], features)


def test_farthest_points_spread_and_neighbours_are_padded():
    line = torch.stack([torch.linspace(0, 1, 11), torch.zeros(11), torch.zeros(11)], dim=1)[None]
    assert farthest_points(line, 3).tolist() == [[10, 0, 5]]
    near = ball_neighbours(line, line[:, [0, 5]], radius=0.11, most=4)
    assert near.tolist() == [[[0, 1, 0, 0], [4, 5, 6, 4]]]


def test_pointnet_does_not_see_the_order_of_points(clouds):
    network = stirred(PointNet(40))
    torch.testing.assert_close(network(clouds)[0], network(clouds.flip(1))[0])


def test_features_are_of_clouds_turned_like_modelnet(clouds):
    network = stirred(PointNet(40))
    features, logits = cloud_features(network, clouds)
    wanted = network(clouds * torch.tensor([-1.0, 1.0, -1.0]))
    torch.testing.assert_close(features, wanted[0])
    torch.testing.assert_close(logits, wanted[1])
    with pytest.raises(ValueError, match="clouds"):
        cloud_features(network, clouds[0])


@pytest.mark.parametrize("network", [PointNet(40), PointNet2(15)], ids=["pointnet", "pointnet2"])
def test_files_of_both_kinds_load_strictly(tmp_path, network):
    stirred(network)
    save_file(dict(network.state_dict()), tmp_path / "weights.safetensors")
    torch.save({"epoch": 3, "model_state_dict": network.state_dict()}, tmp_path / "weights.pth")
    for name in ("weights.safetensors", "weights.pth"):
        loaded = load_pointnet(tmp_path / name)
        assert type(loaded) is type(network)
        assert not loaded.training
        assert all(
            torch.equal(a, b)
            for a, b in zip(loaded.state_dict().values(), network.state_dict().values(), strict=True)
        )


@pytest.mark.parametrize("change", ["lacks", "extra", "shape", "other", "normals"])
def test_other_weights_are_refused_in_one_line(tmp_path, change):
    network = PointNet2(40) if change == "normals" else PointNet(40)
    tensors = dict(network.state_dict())
    if change == "lacks":
        del tensors["bn1.bias"]
    elif change == "extra":
        tensors["stn.conv1.weight"] = torch.zeros(1)
    elif change == "shape":
        tensors["linear1.bias"] = torch.zeros(7)
    elif change == "other":
        tensors = {"feat.conv1.weight": torch.zeros(1)}
    else:
        tensors["sa1.mlp_convs.0.weight"] = torch.zeros(64, 6, 1, 1)
    save_file(tensors, tmp_path / "weights.safetensors")
    with pytest.raises(WeightsError, match=r"weights\.safetensors: expected") as caught:
        load_pointnet(tmp_path / "weights.safetensors")
    assert "\n" not in str(caught.value)
