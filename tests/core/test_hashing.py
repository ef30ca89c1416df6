"""What is no file is refused before somebody waits for it, and messages are one line that steers no terminal."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from gp3d_core.errors import one_line
from gp3d_core.hashing import FileKindError, digest, ordinary
from tests.support.source_tree import ROOT


def test_pipes_sockets_and_devices_are_told_from_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        for name in ("pipe", "socket", "/dev/zero"):
            with pytest.raises(FileKindError, match=f"{name} is a pipe, a socket or a device"):
                ordinary(Path(name))
            with pytest.raises(FileKindError):
                digest(Path(name))
    Path("file").touch()
    for name in ("file", ".", "nothing"):
        assert ordinary(Path(name)) == Path(name)


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        "mesh {p} --class mug",
        "mesh --recipe {p}",
        "card {p}",
        "classes {p}",
        "train {p} {t}/run",
        "train {t}/data {p}",
        "data pack {p} {t}/out",
        "data check {p}",
        "data pack {t}/data {t}/out --labels {p}",
        "lift {p} --depth {p} --out {t}/a.glb",
        "vq3d reconstruct {p} {p} --out {t}/out",
        "vq3d mesh {p} --out {t}/a.obj",
        "evaluate {p} {t}/data --out {t}/out",
        "ship {p} {t}/out.safetensors",
    ],
)
def test_every_command_refuses_a_pipe_at_once(tmp_path: Path, command: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a.png").touch()
    words = command.format(p=tmp_path / "pipe", t=tmp_path).split()
    done = subprocess.run(
        [sys.executable, "-m", "gp3d_core.cli", *words], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert done.stderr.startswith("gp3d: ")
    assert len(done.stderr.splitlines()) == 1


def test_messages_are_one_short_line_whatever_files_say() -> None:
    assert one_line("a\n\tb\x1b[31mred\x07 é\udcff") == "a b [31mred é\udcff"
    assert len(one_line("9" * 10**6)) == 1000
