"""Makes the small copy of recorded tensors that lives in tests/fixtures/3dgp, by hand:

    python -m tests.core.parity.reduce_fixtures SOURCE DEST

What is left out, and why the parity suite claims the same of the copy, is told in the copy's README.md. In short:

* Tensors that tests only compare with are kept as sketches (sketches.py), those that no test reads not at all.
* The discriminator's table of positions keeps the rows that recorded positions look up.
* The three large matrices W of its hyper-modulation act on few recorded inputs x, and few recorded gradients g come
  back to them. With the orthogonal projections P on the span of all x and Q on the span of all g,
  W P + Q W (1 - P) has the same W x and gᵀ W, that is, the same forward and backward values; its rank is small.

The spans are noted while the suite runs on SOURCE. Afterwards the suite runs on DEST, so that a copy which says
something else than its source does not go unnoticed.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save
from torch import Tensor

from gp3d_core.networks.discriminator import POSITION_STEPS
from gp3d_core.networks.layers import EqualisedLinear
from tests.support.sketches import SAMPLE, Sketch

UNREAD = {  # by the tests: the parts of what they do read, or what only the released code does
    "case02_triplane_mlp": r"feats_per_plane",
    "case03_volume_render": r".*\.rgb_coarse",
    "case04_generator": r"train\.depth",
    "case07_discriminator": r"act\.b4",
    "case08_nfs": r"hist",
    "case09_sampling": r"voxel\..*",
}
COMPARED = {  # with what tests compute, and used for nothing else
    "case02_triplane_mlp": r"feats_mean|rgb|sigma|grad:.*",
    "case03_volume_render": r".*grad:.*|.*\.(rgb|sigma|w)_all",
    "case04_generator": r"act\..*|planes.*|eval\.(img|depth_).*|train\.(img4|grad_ws)|grad:.*",
    "case05_camera": r"lipschitz\.abs_diag_grads|stage\..*|grad:.*",
    "case06_depth_adaptor": r"outs|normalized|eval_out|grad:.*",
    "case07_discriminator": r"act\..*|emb828|hyper|cmap|grad:.*|r1\.grad",
    "case09_sampling": r"extract\.(out|coords)|blur\.out_.*",
    "case10_training_step": r".*\.Dcall\d\.img|.*grad:.*",
}
DESCRIPTION = {"official_commit", "seed", "torch", "dataset", "optim"}  # at any depth of the json
HYPER = "param:hyper_mod_mapping."
TABLE = "param:scalar_enc.const_embed.weight"
NEGLIGIBLE = 1e-5  # singular value beside the largest, of directions that only rounding spans


class Observer:
    """A pytest plugin that notes what enters the hyper-modulation's layers, and which gradients return."""

    def __init__(self) -> None:
        self.inputs: dict[str, list[Tensor]] = defaultdict(list)
        self.gradients: dict[str, list[Tensor]] = defaultdict(list)

    @pytest.fixture(autouse=True)
    def observed(self, request: pytest.FixtureRequest) -> None:
        """Watches the discriminator of every test that has one."""
        if "discriminator" not in request.fixturenames:
            return
        hyper = request.getfixturevalue("discriminator").hyper
        for name, layer in {"embed": hyper.embed, "fc0": hyper.layers[0], "fc1": hyper.layers[1]}.items():
            layer.register_forward_hook(partial(self.note, name))

    def note(self, name: str, layer: EqualisedLinear, inputs: tuple[Tensor], output: Tensor) -> None:
        """Notes the inputs of a layer, and for each the gradient that comes back to its linear part."""
        x = inputs[0].detach()
        if name == "embed":  # patches at one position are one input to all three layers
            self.groups = x.unique(dim=0, return_inverse=True)[1]
        self.inputs[name].append(x)
        slope = torch.where(output.detach() > 0, 1.0, 0.2) if layer.activation == "lrelu" else 1.0

        def note_gradient(gradient: Tensor, groups: Tensor = self.groups) -> None:
            summed = torch.zeros(int(groups.max()) + 1, gradient.shape[1])
            self.gradients[name].append(summed.index_add(0, groups, gradient.detach() * slope))

        if output.requires_grad:
            output.register_hook(note_gradient)


def basis(vectors: list[Tensor]) -> Tensor:
    """An orthonormal basis [N,r] of the span of vectors [..., N], float64, negligible directions left out."""
    rows = torch.cat(vectors).double()
    rows = torch.nn.functional.normalize(rows[rows.norm(dim=1) > 0])
    _, values, directions = torch.linalg.svd(rows, full_matrices=False)
    return directions[values > NEGLIGIBLE * values[0]].T


def thin(matrix: Tensor, inputs: Tensor, gradients: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Two thin factors of a matrix that acts as `matrix` does, from the right on one basis, the left on another."""
    whole = matrix.double()
    forward = whole @ inputs
    backward = gradients.T @ whole
    backward = backward - backward @ inputs @ inputs.T
    yield "left", torch.cat([forward, gradients], dim=1).float()
    yield "right", torch.cat([inputs.T, backward]).float()


def touched(table: Tensor, positions: Tensor) -> Iterator[tuple[str, Tensor]]:
    """The rows of a table that `positions` in [0, 1] look up, and where they were."""
    rows = (positions * POSITION_STEPS).round().long().unique()
    index = torch.full((len(table),), -1, dtype=torch.int16)
    index[rows] = torch.arange(len(rows), dtype=torch.int16)
    yield "rows", table[rows]
    yield "index", index


def sketched(tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
    """The parts of a sketch."""
    sketch = Sketch.of(tensor)
    yield "shape", torch.tensor(sketch.shape)
    yield "sample", sketch.sample
    yield "signs", sketch.projections


def reduce_case(
    name: str, tensors: dict[str, Tensor], observer: Observer, positions: Tensor
) -> dict[str, Tensor]:
    """The tensors of case `name` as they are stored in the copy."""
    unread = re.compile(UNREAD.get(name, r"(?!)"))
    compared = re.compile(COMPARED.get(name, r"(?!)"))
    stored: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        layer = key.removeprefix(HYPER).removesuffix(".weight")
        if unread.fullmatch(key):
            continue
        if layer in observer.inputs:
            parts = thin(tensor, basis(observer.inputs[layer]), basis(observer.gradients[layer]))
        elif key == TABLE:
            parts = touched(tensor, positions)
        elif compared.fullmatch(key) and tensor.numel() > SAMPLE:
            parts = sketched(tensor)
        else:
            stored[key] = tensor
            continue
        stored |= {f"{key}@{part}": value.contiguous() for part, value in parts}
    return stored


def recorded_positions(cases: dict[str, dict[str, Tensor]]) -> Tensor:
    """Every scale and offset of the patches that a recorded discriminator looks at."""
    looked_at = [cases[name] for name in ("case07_discriminator", "case10_training_step")]
    found = (
        case[key].flatten() for case in looked_at for key in case if re.search(r"(scales|offsets)$", key)
    )
    return torch.cat(list(found))


def run_suite(folder: Path, *plugins: object) -> None:
    """Runs the parity suite on a folder; SystemExit if it fails."""
    suite = map(str, sorted(Path(__file__).parent.glob("test_parity_*.py")))
    if code := pytest.main([*suite, "--fixtures-dir", str(folder)], plugins=list(plugins)):
        sys.exit(f"the parity suite fails on {folder} (pytest says {code})")


def reduce_folder(source: Path, dest: Path, observer: Observer) -> None:
    """Writes the small copy of every case of `source` into `dest`."""
    dest.mkdir(parents=True, exist_ok=True)
    cases = {path.stem: load_file(path) for path in sorted(source.glob("*.safetensors"))}
    positions = recorded_positions(cases)
    for name, tensors in cases.items():
        path, written = dest / f"{name}.safetensors", dest / f"{name}.partial"
        written.write_bytes(save(reduce_case(name, tensors, observer, positions)))
        os.replace(written, path)
        meta = json.loads((source / f"{name}.json").read_text())
        written.write_text(json.dumps(settings(meta), separators=(",", ":")) + "\n")
        os.replace(written, path.with_suffix(".json"))


def settings(meta: Any) -> Any:
    """What a json says, less what describes the recording itself."""
    if not isinstance(meta, dict):
        return meta
    return {key: settings(value) for key, value in meta.items() if key not in DESCRIPTION}


def main() -> None:
    """Reduces a folder of recorded tensors, proves the copy, and says how large it is."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path)
    parser.add_argument("dest", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # the same bytes each time
    observer = Observer()
    run_suite(arguments.source, observer)
    reduce_folder(arguments.source, arguments.dest, observer)
    run_suite(arguments.dest)
    size = sum(path.stat().st_size for path in arguments.dest.iterdir())
    sys.stdout.write(f"{arguments.dest}: {math.ceil(size / 1000)} kB\n")


if __name__ == "__main__":
    main()
