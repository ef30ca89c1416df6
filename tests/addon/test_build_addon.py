"""The zips: complete, validated, the same every time, small, and without anything that does not belong there."""

from __future__ import annotations

import ast
import shutil
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.addon.conftest import ROOT, load_tool


def names(path: Path) -> set[str]:
    with zipfile.ZipFile(path) as archive:
        return {name for name in archive.namelist() if not name.endswith("/")}


def test_zip_holds_the_package_and_nothing_else(addon_zips: list[Path]) -> None:
    source = ROOT / "blender_addon"
    files = {path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()}
    assert names(addon_zips[0]) == {name for name in files if "__pycache__" not in name}
    assert {"LICENSE", "__init__.py", "blender_manifest.toml", "classes.json"} <= names(addon_zips[0])
    assert names(addon_zips[1]) == {f"gp3d/{name}" for name in names(addon_zips[0])}
    assert addon_zips[0].stat().st_size < 1_000_000


def test_broken_manifest_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tool = load_tool("build_addon")
    for path in (ROOT / "blender_addon").iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    shutil.copytree(ROOT / "blender_addon/words", tmp_path / "words")
    manifest = tmp_path / "blender_manifest.toml"
    manifest.write_text(manifest.read_text().replace("license", "licence"))
    monkeypatch.setattr(tool, "SOURCE", tmp_path)
    with pytest.raises(RuntimeError, match="license"):
        tool.build(tmp_path / "out")
    assert not list((tmp_path / "out").glob("*.zip"))


def test_without_blenders_tool_the_same_zips_are_built_and_one_line_says_so(
    addon_zips: list[Path],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tool = load_tool("build_addon")
    monkeypatch.setattr(tool.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr("sys.argv", ["build_addon", "--out", str(tmp_path)])
    assert tool.main() == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("not validated: ")
    assert [path.read_bytes() for path in sorted(tmp_path.iterdir())] == [
        path.read_bytes() for path in sorted(addon_zips)
    ]


def test_another_version_than_the_core_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tool = load_tool("build_addon")
    for name in ("blender_manifest.toml", "__init__.py", "classes.json"):
        (tmp_path / name).write_bytes((ROOT / "blender_addon" / name).read_bytes())
    monkeypatch.setattr(tool, "SOURCE", tmp_path)
    monkeypatch.setattr(tool, "__version__", "7.8.9")
    with pytest.raises(RuntimeError, match="another version"):
        tool.build(tmp_path / "out")
    for path, text in tool.versioned().items():
        path.write_text(text)
    assert 'version = "7.8.9"' in (tmp_path / "blender_manifest.toml").read_text()
    assert '"version": (7, 8, 9)' in (tmp_path / "__init__.py").read_text()


def test_other_rules_for_words_than_the_cores_are_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tool = load_tool("build_addon")
    for path in (ROOT / "blender_addon").iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    shutil.copytree(ROOT / "blender_addon/words", tmp_path / "words")
    with (tmp_path / "words/class_matching.py").open("a") as file:
        file.write("# changed here only\n")
    monkeypatch.setattr(tool, "SOURCE", tmp_path)
    with pytest.raises(RuntimeError, match=r"words/class_matching.py is out of date; .*--classes"):
        tool.build(tmp_path / "out")


def test_both_kinds_of_add_on_say_the_same() -> None:
    manifest = tomllib.loads((ROOT / "blender_addon/blender_manifest.toml").read_text(encoding="utf-8"))
    tree = ast.parse((ROOT / "blender_addon/__init__.py").read_text(encoding="utf-8"))
    (info,) = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "bl_info"
    ]
    assert ".".join(map(str, info["version"])) == manifest["version"]
    assert info["name"] == manifest["name"]
    assert "network" not in manifest["permissions"]


def test_add_on_uses_no_network() -> None:
    for path in (ROOT / "blender_addon").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom) and not getattr(node, "level", 0):
                found = {alias.name for alias in node.names} | {getattr(node, "module", None) or ""}
                assert not {name.split(".")[0] for name in found} & {
                    "socket",
                    "urllib",
                    "http",
                    "requests",
                    "ssl",
                }
