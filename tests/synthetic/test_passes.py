"""`--passes` as a user asks for them: in the views' own files, named in the manifest, and held true by the check."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from synthetic.check import main
from synthetic.dataset import PASSES, Settings
from synthetic.options import command_line, settings_of
from tests.synthetic import small_library as library

KEY = "02876657/blocks"
GLOSS = (("Pr 0.2", "Pm 1"), ("Pr 0.6", "Ks 0.5 0.5 0.5"), ("Ns 50", "Ks 0.5 0.5 0.5"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A library of one model of three glossy blocks, and a data set of it with all passes."""
    root = tmp_path_factory.mktemp("passes")
    library.write_facts(root / "models")
    path = library.write_model(root / "models", KEY, library.SHAPES[KEY])
    text = path.with_suffix(".mtl").read_text()
    for number, lines in enumerate(GLOSS):
        text = text.replace(f"newmtl m{number}", "\n".join([f"newmtl m{number}", *lines]))
    path.with_suffix(".mtl").write_text(text)
    words = (
        "--passes",
        f"normals,albedo,{','.join(PASSES)}",
        "--views",
        4,
        "--resolution",
        96,
        "--samples",
        1,
    )
    run = library.run(
        root / "scratch", "synthetic.render", root / "models", root / "out", *words, "--workers", 1
    )
    assert run.returncode == 0, run.stderr
    return root / "models", root / "out"


@pytest.mark.blender
@pytest.mark.slow
def test_every_block_has_its_number_and_its_gloss(made: tuple[Path, Path]) -> None:
    manifest = json.loads((made[1] / "manifest.json").read_text())
    assert manifest["models"][KEY]["instances"] == ["part0", "part1", "part2"]
    assert manifest["generator"]["settings"]["passes"] == list(PASSES)
    found: dict[int, set[tuple[float, float]]] = {}
    for path in sorted(made[1].rglob("*_geometry.npz")):
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
        assert {"normals", "albedo", *PASSES} <= arrays.keys()
        assert ((arrays["instance"] > 0) == arrays["mask"]).all()
        for number in range(1, 4):
            here = arrays["instance"] == number
            centre = library.SHAPES[KEY][number - 1].mesh.centroid
            assert np.abs(arrays["position"][here] - centre).max(initial=0) < 0.07 + 1e-5
            pairs = np.stack([arrays[key][here] for key in ("roughness", "metallic")], axis=-1)
            found.setdefault(number, set()).update(map(tuple, pairs.astype(float).round(4).tolist()))
    assert found[1] == {(0.2, 1.0)}
    assert found[2] == {(0.6, 0.0)}
    assert len(found[3]) == 1


def check(made: tuple[Path, Path], out: Path, report: Path) -> tuple[int, dict[str, Any]]:
    status = main([str(out), "--models", str(made[0]), "--out", str(report)])
    return status, json.loads((report / "report.json").read_text())


@pytest.mark.blender
@pytest.mark.slow
def test_check_finds_true_passes_true(made: tuple[Path, Path], tmp_path: Path) -> None:
    status, report = check(made, made[1], tmp_path)
    assert status == 0
    assert all(report["summary"][f"{name}_off"] == 0 for name in PASSES)


LIES = {
    "position": lambda arrays: arrays["position"] + np.float32(5e-5),
    "instance": lambda arrays: arrays["instance"] % 3 + 1,
    "roughness": lambda arrays: arrays["roughness"] * np.float32(0.98),
    "metallic": lambda arrays: arrays["metallic"] * 0,
}


@pytest.mark.blender
@pytest.mark.slow
@pytest.mark.parametrize("name", [*PASSES, "missing"])
def test_check_finds_lies_of_passes(made: tuple[Path, Path], tmp_path: Path, name: str) -> None:
    out = tmp_path / "out"
    shutil.copytree(made[1], out)
    for path in out.rglob("*_geometry.npz"):
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
        if name == "missing":
            del arrays["position"]
        else:
            arrays[name] = LIES[name](arrays)
        np.savez(path, **arrays)
    status, report = check(made, out, tmp_path / "report")
    wrong = "position" if name == "missing" else name
    assert status == 1
    assert f"of another {wrong} than the model" in report["broken"][0]
    assert [other for other in PASSES if report["summary"][f"{other}_off"]] == [wrong]


def test_passes_are_named_in_one_list_or_by_the_older_words() -> None:
    def settings(*words: str) -> Settings:
        return settings_of(command_line("").parse_args(["models", "out", *words]))

    assert settings("--passes", "albedo,normals") == settings("--albedo", "--normals")
    assert settings("--passes", "instance,position").passes == ("position", "instance")
    assert Settings.from_json(settings("--passes", "instance").as_json()).passes == ("instance",)
    with pytest.raises(SystemExit):
        settings("--passes", "albedo,colour")
    with pytest.raises(ValueError, match="expected passes among"):
        Settings(passes=("instance", "position"))
