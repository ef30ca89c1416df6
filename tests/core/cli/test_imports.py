"""Imports of what computes are not searched for garbage, and only they."""

import gc
import subprocess
import sys

import pytest

from gp3d_core.cli.process.imports import for_good


@pytest.fixture
def searched():
    """The generations of every search for garbage, as they come; what was frozen is thawed afterwards."""
    gc.unfreeze()
    found = []

    def note(phase, info):
        if phase == "start":
            found.append(info["generation"])

    gc.callbacks.append(note)
    yield found
    gc.callbacks.remove(note)
    gc.unfreeze()


def test_nothing_is_searched_for_garbage_in_the_block_and_all_is_after_it(searched):
    with for_good():
        modules = [[number] for number in range(50_000)]
        assert searched == []
    assert gc.isenabled()
    assert gc.get_freeze_count() > len(modules)
    _ = [[number] for number in range(50_000)]
    assert searched


def test_only_what_came_in_first_is_never_searched_again(searched):
    with for_good():
        pass
    frozen = gc.get_freeze_count()
    with for_good():
        later = [[number] for number in range(50_000)]
    assert len(later) == 50_000
    assert gc.get_freeze_count() <= frozen, "what a later command leaves behind may be garbage"


def test_the_block_leaves_collection_off_where_it_was_off_and_ends_with_errors(searched):
    gc.disable()
    try:
        with for_good():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
    with pytest.raises(ImportError), for_good():
        raise ImportError
    assert gc.isenabled()


def test_a_mesh_with_vertex_colours_imports_no_filters_and_matrices_of_scipys(tmp_path):
    """They take 0.3 s each; textures need filters. Nor trees of points, where no large piece is loose."""
    program = (
        "import sys; from gp3d_core.cli.main import main; code = main(sys.argv[1:]); "
        "print(sorted({'scipy.ndimage', 'scipy.sparse', 'scipy.spatial', 'mcubes'} & set(sys.modules))); sys.exit(code)"
    )
    words = ["mesh", "--class", "coffee mug", "--color", "vertex", "--device", "cpu"]
    command = [sys.executable, "-c", program, *words, "--out", str(tmp_path)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout
    assert printed.splitlines()[-1] == "[]"
