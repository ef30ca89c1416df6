"""`gp3d mcp` as its clients see it: spoken to by the SDK's own client; files in one folder, errors in one line."""

from __future__ import annotations

import base64
import io
import json
import math
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
import trimesh
from PIL import Image

from gp3d_core.visualization import save_picture
from tests.support.micro import micro_snapshot
from tests.support.serving import ENVIRONMENT

pytest.importorskip("mcp", reason="mcp is not installed")
from mcp import Client, StdioServerParameters

pytestmark = pytest.mark.slow
TOOLS = ["image_to_3d", "list_classes", "mesh", "preview", "report"]


def with_server(tmp_path: Path, talk: Callable[[Any], Awaitable[None]], snapshot: Path | None = None) -> Path:
    """Lets the SDK's client talk to a server; returns the folder of its files."""
    model = [str(snapshot or micro_snapshot(tmp_path / "model"))]
    folder = tmp_path / "out"
    server = StdioServerParameters(
        command=sys.executable,
        args=["-m", "gp3d_core.cli", "mcp", *model, "--folder", str(folder)],
        env=ENVIRONMENT,
        cwd=tmp_path,
    )

    async def session() -> None:
        async with Client(server) as client:
            await talk(client)

    anyio.run(session)
    return folder


def told(result: Any) -> dict[str, Any]:
    """What a tool answers, as data."""
    assert not result.is_error, result.content
    found: dict[str, Any] = json.loads(result.content[0].text)
    return found


def refused(result: Any) -> str:
    """The one line in which a tool refuses."""
    assert result.is_error
    text: str = result.content[0].text
    assert "\n" not in text
    return text


def test_tools_make_what_they_say(tmp_path: Path) -> None:
    steps: list[str | None] = []

    async def hear(done: float, total: float | None, message: str | None) -> None:
        steps.append(message)

    async def talk(client: Any) -> None:
        assert sorted(tool.name for tool in (await client.list_tools()).tools) == TOOLS
        classes = told(await client.call_tool("list_classes"))
        assert [one["name"] for one in classes["classes"]] == ["coffee mug", "mushroom"]
        found = told(await client.call_tool("list_classes", {"search": "MUSH"}))
        assert ([one["name"] for one in found["classes"]], found["of"]) == (["mushroom"], 2)
        shown = await client.call_tool("preview", {"class_name": "mug", "seeds": [3, 5]})
        assert [part.type for part in shown.content] == ["text", "image", "image"]
        assert "mug → coffee mug" in shown.content[0].text
        aside = [{"yaw_degrees": 90}, {"yaw": math.pi / 2}]
        turned = [
            await client.call_tool("preview", {"class_name": "mug", "seeds": [3], **one}) for one in aside
        ]
        assert turned[0].content[1].data == turned[1].content[1].data != shown.content[1].data
        for part in shown.content[1:]:
            assert part.mime_type == "image/png"
            with Image.open(io.BytesIO(base64.b64decode(part.data))) as picture:
                assert picture.size == (16, 16)
        made = told(
            await client.call_tool(
                "mesh", {"class_name": "mushroom", "seed": 1, "grid": 24, "name": "a"}, progress_callback=hear
            )
        )
        assert len(trimesh.load(made["files"]["glb"], force="mesh").faces) == made["faces"] > 0
        assert "density" in steps
        report = told(await client.call_tool("report", {"class_name": "mug"}))
        assert (report["class"], report["badge"], "license" in report) == ("coffee mug", None, True)
        assert report["geometry"] is None  # no pretrained model, so that no report card comes along

    folder = with_server(tmp_path, talk)
    assert {"a.glb", "a.recipe.json"} < {path.name for path in folder.iterdir()}


def test_errors_are_the_workers_and_nothing_is_written_elsewhere(tmp_path: Path) -> None:
    async def talk(client: Any) -> None:
        call = client.call_tool
        assert "(E_CLASS)" in refused(await call("mesh", {"class_name": "nonsense"}))
        for name in ("../a", "/etc/a", "a/b", ".a", ""):
            assert "stem: expected a file name" in refused(
                await call("mesh", {"class_name": "mug", "name": name})
            )
        assert "grid: expected" in refused(await call("mesh", {"class_name": "mug", "grid": 4}))
        assert "formats" in refused(await call("mesh", {"class_name": "mug", "format": "exe"}))
        assert "at most 12" in refused(await call("preview", {"class_name": "mug", "seeds": list(range(13))}))
        both = {"class_name": "mug", "yaw": 0.1, "yaw_degrees": 1}
        assert "expected one of them" in refused(await call("preview", both))
        assert "from -180 to 180" in refused(await call("preview", {"class_name": "mug", "yaw_degrees": 181}))
        assert "(E_PICTURE)" in refused(await call("image_to_3d", {"picture": "missing.png"}))
        assert "nonsense" in refused(await call("report", {"class_name": "nonsense"}))
        assert told(await call("list_classes"))["of"] == 2  # it goes on

    before = {"model", "out"}
    folder = with_server(tmp_path, talk)
    assert {path.name for path in tmp_path.iterdir()} == before
    assert list(folder.iterdir()) == []


def test_a_picture_becomes_a_mesh(tmp_path: Path) -> None:
    async def talk(client: Any) -> None:
        made = told(
            await client.call_tool("image_to_3d", {"picture": "blue.png", "grid": 32, "name": "blue"})
        )
        assert Path(made["files"]["glb"]).is_file()
        assert Path(made["view"]).is_file()

    (tmp_path / "out").mkdir()
    save_picture(Image.new("RGB", (64, 64), (40, 80, 200)), tmp_path / "out" / "blue.png")
    with_server(tmp_path, talk)


def test_a_model_that_goes_away_is_said_and_the_server_stays(tmp_path: Path) -> None:
    model = micro_snapshot(tmp_path / "model")

    async def talk(client: Any) -> None:
        model.unlink()
        for _ in range(2):
            assert "(E_NO_WEIGHTS)" in refused(await client.call_tool("list_classes"))

    with_server(tmp_path, talk, model)


@pytest.mark.parametrize(
    ("model", "said"), [("NOSUCH", "no snapshot at NOSUCH"), ("broken.safetensors", "broken.safetensors")]
)
def test_a_model_that_is_not_there_or_broken_is_one_line_at_once(
    tmp_path: Path, model: str, said: str
) -> None:
    (tmp_path / "broken.safetensors").write_bytes(b"no weights")
    done = subprocess.run(
        [sys.executable, "-m", "gp3d_core.cli", "mcp", model, "--folder", "out"],
        env=ENVIRONMENT,
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_worker_that_dies_is_started_again(tmp_path: Path) -> None:
    async def talk(client: Any) -> None:
        assert told(await client.call_tool("list_classes"))["of"] == 2
        (worker,) = children_that_serve()
        os.kill(worker, 9)
        with anyio.fail_after(60):
            while children_that_serve():
                await anyio.sleep(0.05)
        again = await client.call_tool("list_classes")  # the server may not know of it yet
        assert not again.is_error or "Ask again" in refused(again)
        assert told(await client.call_tool("list_classes"))["of"] == 2

    with_server(tmp_path, talk)
    assert not children_that_serve()


def children_that_serve() -> list[int]:
    """Process ids of the workers below this process."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes().split(b"\0")
            parent = int((path / "stat").read_text().rsplit(")", 1)[1].split()[1])
            grandparent = int(Path(f"/proc/{parent}/stat").read_text().rsplit(")", 1)[1].split()[1])
        except (OSError, IndexError):
            continue
        if b"serve" in words and b"gp3d_core.cli" in words and grandparent == os.getpid():
            found.append(int(path.name))
    return found


def test_stdout_is_the_protocols_alone(tmp_path: Path) -> None:
    """Spoken to without the SDK: every line of stdout is a message of the protocol."""
    said = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "0"}}
    lines = [
        {"id": 1, "method": "initialize", "params": said},
        {"method": "notifications/initialized"},
        {"id": 2, "method": "tools/call", "params": {"name": "list_classes", "arguments": {}}},
    ]
    command = [sys.executable, "-m", "gp3d_core.cli", "mcp", "--folder", str(tmp_path / "out")]
    model = str(micro_snapshot(tmp_path / "model"))
    with subprocess.Popen(
        [*command, model],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=ENVIRONMENT,
        text=True,
    ) as process:
        assert process.stdin
        assert process.stdout
        for line in lines:
            print(json.dumps({"jsonrpc": "2.0", **line}), file=process.stdin, flush=True)
        answers = []
        while 2 not in [answer.get("id") for answer in answers]:
            answers.append(json.loads(process.stdout.readline()))
        process.stdin.close()
        answers += map(json.loads, process.stdout)
        assert process.wait(60) == 0
    assert all(answer["jsonrpc"] == "2.0" for answer in answers)
    assert [answer["id"] for answer in answers if "id" in answer] == [1, 2]


def test_without_the_library_one_line_says_what_to_install(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['mcp'] = None\n"
        "from gp3d_core.cli.main import main\n"
        f"sys.exit(main(['mcp', '--folder', {str(tmp_path / 'out')!r}]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=ENVIRONMENT, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (3, "")
    assert (
        done.stderr == "gp3d: gp3d mcp needs the package mcp, which is not installed: pip install 'mcp>=2'\n"
    )
    assert not (tmp_path / "out").exists()
