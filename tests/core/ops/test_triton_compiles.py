"""Every kernel of the renderer compiles for a GPU, on a machine without one: what the interpreter lets pass, and
Triton's own compiler does not, is found here.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")

PROGRAM = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from gp3d_core.ops.triton import compositing, decoding, importance, marching, marching_backward
from gp3d_core.ops.triton.lookup import Planes
from gp3d_core.ops.triton.perceptron import Layers

F = "*fp32"
fields = dict(
    planes=Planes(F, "i64", "i32", "i32", "i32", "i32", "i32"),
    texels=Planes(F, "i64", "i32", "i32", "i32", "i32", "i32"),
    layers=Layers(F, F, F, F),
    rays=marching.Rays(F, F, F, F, F),
    seen=marching.Seen(F, F, F, F, F, F),
    slopes=marching_backward.Slopes(F, F, F, F),
    found=marching_backward.Found(F, F, F),
    scene=marching.Scene(*["fp32"] * 9),
    **dict.fromkeys(("count", "blocks", "total", "coarse", "fine"), "i32"),
    **dict.fromkeys(("box", "last_interval", "t_far"), "fp32"),
)
sizes = dict(
    N=16, R=2, P=8, M=8, C=16, W=16, CHANNELS=3, WIDTH=5, SAMPLES=7, COARSE=7, FINE=5, BOUNDED=True,
    PRECISION="tf32x3", BACKGROUND="last", EMPTY=True, METRIC=True, NOISE=True,
    TO_PLANES=True, TO_POINTS=True, TO_RAYS=True, TO_LAYERS=True, TO_WEIGHTS=True,
)
for kernel, others in (
    (decoding.decode_kernel, {}),
    (decoding.decode_backward_kernel, {"slopes": F}),
    (compositing.composite_kernel, {}),
    (compositing.composite_backward_kernel, {}),
    (importance.importance_kernel, {"found": F}),
    (marching.render_kernel, {}),
    (marching_backward.render_backward_kernel, {}),
):
    names = kernel.arg_names
    constants = {name: sizes[name] for name in names if name in sizes}
    if kernel in (decoding.decode_backward_kernel, marching_backward.render_backward_kernel):
        constants["PRECISION"] = "ieee"
    types = dict.fromkeys(names, F) | fields | others | dict.fromkeys(constants, "constexpr")
    source = ASTSource(kernel, {name: types[name] for name in names}, constants)
    triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": 4, "num_stages": 1})
    print(kernel.fn.__name__)
"""


@pytest.mark.slow
@pytest.mark.timeout(900)  # some 15 seconds of a core that nobody else uses
def test_every_kernel_compiles_for_a_gpu(tmp_path: Path) -> None:
    surroundings = {**os.environ, "TRITON_CACHE_DIR": str(tmp_path)}
    surroundings.pop("TRITON_INTERPRET", None)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=Path(__file__).resolve().parents[3],
        env=surroundings,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) == 7
