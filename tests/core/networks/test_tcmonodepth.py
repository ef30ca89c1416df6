"""TCMonoDepth small: recorded tensors of the authors' network, files in which its weights come, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from gp3d_core.networks.foreign_weights import WeightsError
from gp3d_core.networks.tcmonodepth import Norm, TCMonoDepth, fold_norms, load_tcmonodepth
from tests.support.depth_weights import SHARED, random_weights, real_weights

CASES = ("noise", "smooth", "photo.cameratrap_african_elephants", "photo.cameratrap_blank")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_weights(tmp_path_factory.mktemp("weights") / "small.safetensors")


def recorded() -> dict[str, Tensor]:
    path = SHARED / "fixtures/tcmonodepth.safetensors"
    if not path.exists():
        pytest.skip("the recorded tensors are not at hand")
    return load_file(path)


@pytest.mark.parametrize("folded", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_outputs_are_the_recorded_ones(case: str, folded: bool) -> None:
    tensors = recorded()
    network = load_tcmonodepth(real_weights())
    if folded:
        fold_norms(network)
        assert not any(isinstance(part, Norm) for part in network.encoder.modules())
    found = network(tensors[f"{case}.in"].float())
    torch.testing.assert_close(found, tensors[f"{case}.out"], rtol=0, atol=1e-4)


def test_inner_activations_are_the_recorded_ones() -> None:
    tensors = recorded()
    network = load_tcmonodepth(real_weights())
    found: dict[str, Tensor] = {}
    network.encoder.register_forward_hook(lambda _m, _i, out: found.update({"encoder.stage3": out[3]}))
    for name in ("decoder.decoder3", "decoder.final"):
        network.get_submodule(name).register_forward_hook(
            lambda _m, _i, out, name=name: found.update({name: out})
        )
    network(tensors["smooth.in"])
    for name, tensor in found.items():
        torch.testing.assert_close(tensor, tensors[f"smooth.act.{name}"], rtol=0, atol=1e-4)


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("key", [None, "state_dict"])
def test_a_checkpoint_that_torch_saved_gives_the_same_network(
    weights: Path, tmp_path: Path, prefix: str, key: str | None
) -> None:
    state: dict[str, Tensor] = {}
    for name, tensor in load_file(weights).items():
        state[prefix + name] = tensor
        if name.endswith("running_var"):
            state[prefix + name.replace("running_var", "num_batches_tracked")] = torch.tensor(7)
    path = tmp_path / "_ckpt_small.pt.tar"
    torch.save(state if key is None else {"epoch": 3, key: state}, path)
    picture = torch.rand(1, 3, 64, 32) * 255
    assert torch.equal(load_tcmonodepth(path)(picture), load_tcmonodepth(weights)(picture))


def test_weights_of_other_networks_and_damaged_files_are_one_line(weights: Path, tmp_path: Path) -> None:
    tensors = load_file(weights)
    wide = tensors | {"decoder.final.weight": torch.zeros(1, 32, 3, 3)}
    lacking = {name: tensor for name, tensor in tensors.items() if name != "encoder.first_conv.0.weight"}
    for odd, part in (
        (wide, r"\[1, 24, 3, 3\], found \[1, 32, 3, 3\]"),
        (lacking, "lacks encoder.first_conv"),
    ):
        save_file(odd, tmp_path / "odd.safetensors")
        with pytest.raises(WeightsError, match=rf"expected weights of TCMonoDepth small.*{part}"):
            load_tcmonodepth(tmp_path / "odd.safetensors")
    torch.save({"conv.weight": torch.zeros(3)}, tmp_path / "other.pt.tar")
    torch.save({"run": test_outputs_are_the_recorded_ones}, tmp_path / "code.pt.tar")
    (tmp_path / "cut.safetensors").write_bytes(weights.read_bytes()[:-100])
    (tmp_path / "empty.pt.tar").write_bytes(b"")
    for name in ("other.pt.tar", "code.pt.tar", "cut.safetensors", "empty.pt.tar"):
        with pytest.raises(WeightsError, match=name) as caught:
            load_tcmonodepth(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_sizes_that_its_strides_do_not_divide_are_refused() -> None:
    with pytest.raises(ValueError, match=r"multiples of 32, found \[1, 3, 64, 80\]"):
        TCMonoDepth()(torch.zeros(1, 3, 64, 80))
