"""What a command waits for before it makes a mesh: only what it uses is imported."""

import subprocess
import sys

import pytest

# Together three seconds, two of them for PyTorch 2.13's compiler and SymPy, before a command of four
UNUSED = "torch._dynamo sympy triton trimesh networkx"
REPORT = f"import sys\nprint(*[name for name in '{UNUSED}'.split() if name in sys.modules])"


@pytest.mark.parametrize(
    "work",
    [
        "from gp3d_core.cli.main import main\n"
        "main(['mesh', '--class', 'coffee mug', '--grid', '32', '--color', 'vertex', '--out', sys.argv[1]])",
        "from gp3d_core.pretrained import vq3d_prior\n"
        "from gp3d_core.vq3d.files.prior_file import load_prior\n"
        "load_prior(vq3d_prior())",
    ],
    ids=["mesh", "scene model"],
)
def test_nothing_is_imported_that_is_not_used(work, tmp_path):
    program = f"import sys\n{work}\n{REPORT}"
    ended = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "out")], capture_output=True, text=True, check=True
    )
    assert ended.stdout.splitlines()[-1].split() == []
