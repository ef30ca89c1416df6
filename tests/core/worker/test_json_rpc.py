"""Protocol 2: the examples of the JSON-RPC 2.0 specification, and a worker that is spoken to in it."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from gp3d_core.worker.json_rpc import ERROR_CODES, METHODS, JsonRpc
from gp3d_core.worker.protocol import MAX_LINE
from tests.support.micro import micro_snapshot
from tests.support.serving import ENVIRONMENT, LONG, PATIENCE, ROOT

# The specification's methods: their parameters, and what they give
METHODS_OF_EXAMPLES: dict[str, tuple[tuple[str, ...], Callable[..., Any]]] = {
    "subtract": (("minuend", "subtrahend"), lambda minuend, subtrahend: minuend - subtrahend),
    "sum": (("a", "b", "c"), lambda a, b, c: a + b + c),
    "update": (("a", "b", "c", "d", "e"), lambda **_: 0),
    "notify_hello": (("number",), lambda number: number),
    "notify_sum": (("a", "b", "c"), lambda **_: 0),
    "get_data": ((), lambda: ["hello", 5]),
}
NULL_ERROR = {"jsonrpc": "2.0", "id": None}


def answers(line: str, methods: Mapping[str, Any] = METHODS_OF_EXAMPLES) -> list[Any]:
    """What is written for a line, each error as its code, and each result as its value."""
    written: list[Any] = []
    rpc = JsonRpc({name: names for name, (names, _) in methods.items()}, {})

    def send(event: Mapping[str, Any]) -> None:
        written.extend(rpc.messages_of(event))

    for call in rpc.read(line.encode(), send):
        send(
            {
                "event": "result",
                "id": call.name,
                "op": call.method,
                "value": methods[call.method][1](**call.params),
            }
        )
    json.dumps(written)
    return [
        [short(one) for one in message] if isinstance(message, list) else short(message)
        for message in written
    ]


def short(message: dict[str, Any]) -> dict[str, Any]:
    assert message.pop("jsonrpc") == "2.0"
    assert ("result" in message) != ("error" in message)
    if "result" in message:
        return {"id": message["id"], "result": message["result"]["value"]}
    assert isinstance(message["error"]["message"], str)
    return {"id": message["id"], "error": message["error"]["code"]}


@pytest.mark.parametrize(
    ("line", "written"),
    [
        ('{"jsonrpc": "2.0", "method": "subtract", "params": [42, 23], "id": 1}', [{"id": 1, "result": 19}]),
        ('{"jsonrpc": "2.0", "method": "subtract", "params": [23, 42], "id": 2}', [{"id": 2, "result": -19}]),
        (
            '{"jsonrpc": "2.0", "method": "subtract", "params": {"subtrahend": 23, "minuend": 42}, "id": 3}',
            [{"id": 3, "result": 19}],
        ),
        (
            '{"jsonrpc": "2.0", "method": "subtract", "params": {"minuend": 42, "subtrahend": 23}, "id": 4}',
            [{"id": 4, "result": 19}],
        ),
        ('{"jsonrpc": "2.0", "method": "update", "params": [1,2,3,4,5]}', []),
        ('{"jsonrpc": "2.0", "method": "foobar"}', []),
        ('{"jsonrpc": "2.0", "method": "foobar", "id": "1"}', [{"id": "1", "error": -32601}]),
        ('{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]', [{"id": None, "error": -32700}]),
        ('{"jsonrpc": "2.0", "method": 1, "params": "bar"}', [{"id": None, "error": -32600}]),
        (
            '[{"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"}, {"jsonrpc": "2.0", "method"]',
            [{"id": None, "error": -32700}],
        ),
        ("[]", [{"id": None, "error": -32600}]),
        ("[1]", [[{"id": None, "error": -32600}]]),
        ("[1,2,3]", [[{"id": None, "error": -32600}] * 3]),
        (
            '[{"jsonrpc": "2.0", "method": "notify_sum", "params": [1,2,4]},'
            ' {"jsonrpc": "2.0", "method": "notify_hello", "params": [7]}]',
            [],
        ),
    ],
)
def test_examples_of_the_specification(line: str, written: list[Any]) -> None:
    assert answers(line) == written


def test_the_batch_of_the_specification() -> None:
    """Answers of a batch may come in any order."""
    (batch,) = answers(
        '[{"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"},'
        ' {"jsonrpc": "2.0", "method": "notify_hello", "params": [7]},'
        ' {"jsonrpc": "2.0", "method": "subtract", "params": [42,23], "id": "2"}, {"foo": "boo"},'
        ' {"jsonrpc": "2.0", "method": "foo.get", "params": {"name": "myself"}, "id": "5"},'
        ' {"jsonrpc": "2.0", "method": "get_data", "id": "9"}]'
    )
    wanted = [
        {"id": "1", "result": 7},
        {"id": "2", "result": 19},
        {"id": None, "error": -32600},
        {"id": "5", "error": -32601},
        {"id": "9", "result": ["hello", 5]},
    ]
    assert sorted(batch, key=str) == sorted(wanted, key=str)


@pytest.mark.parametrize(
    "name", [0, 1, -7, 1.5, "1", "", "~0", "null", None, "é\U0001f600", "\ud800", 10**30]
)
def test_every_id_comes_back_as_it_was(name: Any) -> None:
    line = json.dumps({"jsonrpc": "2.0", "method": "get_data", "id": name})
    (answer,) = answers(line)
    assert answer["id"] == name
    assert type(answer["id"]) is type(name)


@pytest.mark.parametrize("name", [True, [1], {}, "x" * 129])
def test_what_is_no_id_is_refused(name: Any) -> None:
    line = json.dumps({"jsonrpc": "2.0", "method": "get_data", "id": name})
    assert answers(line) == [{"id": None, "error": -32600}]


def test_an_id_that_is_open_is_refused_without_ending_the_other() -> None:
    rpc, written = JsonRpc({"get_data": ()}, {}), []
    line = b'[{"jsonrpc": "2.0", "method": "get_data", "id": 1}, {"jsonrpc": "2.0", "method": "get_data", "id": "1"}]'
    send = lambda event: written.extend(rpc.messages_of(event))  # noqa: E731
    calls = rpc.read(line, send)
    assert len(calls) == 2  # 1 and "1" are two
    assert rpc.read(b'{"jsonrpc": "2.0", "method": "get_data", "id": 1}', send) == []
    assert [one["id"] for one in written] == [None]
    assert "in use" in written[0]["error"]["message"]
    written.clear()
    send({"event": "result", "id": calls[1].name, "op": "get_data"})
    assert written == []  # a batch waits for all
    send({"event": "result", "id": calls[0].name, "op": "get_data"})
    assert [one["id"] for one in written[0]] == ["1", 1]
    assert len(rpc.read(b'{"jsonrpc": "2.0", "method": "get_data", "id": 1}', send)) == 1  # it is free again


def test_the_page_names_every_method_and_every_code() -> None:
    page = (ROOT / "docs/serve.md").read_text(encoding="utf-8")
    assert all(f"`{method}`" in page for method in METHODS)
    assert all(f"| `{name}` | {code} |" in page for name, code in ERROR_CODES.items())
    documented = set(page.split("## Errors")[1].split("## ")[0].split("`"))
    assert {name for name in documented if name.startswith("E_")} == set(ERROR_CODES)


class Client:
    """A worker that speaks protocol 2; `messages` are all that it has said."""

    def __init__(self, snapshot: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gp3d_core.cli", "serve", str(snapshot), "--protocol", "2"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=ENVIRONMENT,
        )
        self.messages: list[Any] = []
        self._news = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            with self._news:
                self.messages.append(json.loads(line))
                self._news.notify_all()

    def send(self, message: Any) -> None:
        assert self.process.stdin
        self.process.stdin.write(
            (message if isinstance(message, bytes) else json.dumps(message).encode()) + b"\n"
        )
        self.process.stdin.flush()

    def call(self, name: Any, method: str, **params: Any) -> None:
        self.send({"jsonrpc": "2.0", "id": name, "method": method, "params": params})

    def notify(self, method: str, **params: Any) -> None:
        self.send({"jsonrpc": "2.0", "method": method, "params": params})

    def wait(self, found: Callable[[Any], Any]) -> Any:
        """The first message of which `found` is true."""
        with self._news:
            assert self._news.wait_for(lambda: any(map(found, self.messages)), PATIENCE), self.messages[-5:]
            return next(filter(found, self.messages))

    def answer(self, name: Any) -> Any:
        return self.wait(
            lambda one: isinstance(one, dict) and "id" in one and one["id"] == name and "method" not in one
        )

    def noted(self, method: str, **params: Any) -> Any:
        return self.wait(
            lambda one: (
                isinstance(one, dict)
                and one.get("method") == method
                and params.items() <= one["params"].items()
            )
        )


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    running = Client(micro_snapshot(tmp_path / "model"))
    yield running
    running.process.kill()
    running.process.wait()


@pytest.mark.slow
def test_a_conversation_with_a_worker(client: Client, tmp_path: Path) -> None:
    client.call("early", "status")
    assert client.answer("early")["error"]["code"] == -32002
    client.notify("mesh", seed=1)  # dropped, too
    client.call("wrong", "initialize", protocol=1)
    assert client.answer("wrong")["error"] == {
        "code": -32003,
        "message": "this worker speaks protocol 2, asked for was 1",
        "data": {"code": "E_VERSION", "action": "Start the worker with the protocol of the client."},
    }
    assert len(client.messages) == 2  # it says nothing by itself before
    client.call(0, "initialize", protocol=2)
    greeting = client.answer(0)["result"]
    assert greeting["protocol"] == 2
    assert greeting["methods"] == list(METHODS)
    assert greeting["max_line"] == MAX_LINE
    ready = client.noted("ready", id=None)
    assert ready["params"]["classes"] == 2
    client.call(1, "classes")
    assert [one["name"] for one in client.answer(1)["result"]["classes"]] == ["coffee mug", "mushroom"]
    client.call(2, "preview", **{"class": "mushroom"}, seeds=[3], dir=str(tmp_path / "out"))
    shown = client.answer(2)["result"]
    assert set(shown) == {"pictures", "snapshot", "seconds"}
    assert Path(shown["pictures"][0]["path"]).is_file()
    assert client.noted("preview", id=2)["params"]["seed"] == 3
    assert client.noted("progress", id=2)
    client.call(3, "preview", **{"class": "nonsense"}, seeds=[3], dir=str(tmp_path))
    assert client.answer(3)["error"]["code"] == ERROR_CODES["E_CLASS"]
    client.call(4, "preview", **{"class": "mushroom"}, seeds=[], dir=str(tmp_path))
    assert client.answer(4)["error"]["code"] == -32602
    client.send(b"x" * (MAX_LINE + 1))
    client.wait(
        lambda one: isinstance(one, dict) and one.get("error", {}).get("code") == ERROR_CODES["E_TOO_LONG"]
    )
    client.call(5, "shutdown")
    assert client.answer(5)["result"] == {}
    assert client.noted("bye")["params"] == {"reason": "shutdown"}
    assert client.process.wait(PATIENCE) == 0


@pytest.mark.slow
def test_calls_are_cancelled_by_their_own_ids_and_batches_wait_for_all(
    client: Client, tmp_path: Path
) -> None:
    client.call(0, "initialize", protocol=2)
    client.noted("ready")
    out = {"dir": str(tmp_path / "out")}
    client.call(1, "preview", **LONG, **out)
    client.noted("started", id=1)
    client.call("1", "preview", **LONG, **out)
    client.noted("accepted", id="1")
    client.call("state", "status")
    state = client.answer("state")["result"]
    assert state["job"]["id"] == 1
    assert state["queued"] == ["1"]
    client.notify("$/cancelRequest", id="1")
    assert client.answer("1")["error"]["code"] == -32800
    client.call("c", "cancel", target=1)
    assert client.answer("c")["result"] == {"target": 1, "state": "running"}
    assert client.answer(1)["error"]["data"]["code"] == "E_CANCELLED"
    client.call("d", "cancel", target=1)
    assert client.answer("d")["result"]["state"] == "finished"
    call = {"jsonrpc": "2.0", "method": "preview", "params": {"class": "mushroom", "seeds": [1], **out}}
    silent = {"jsonrpc": "2.0", "method": "preview", "params": {"class": "mushroom", "seeds": [2], **out}}
    client.send([{**call, "id": 7}, silent, {"jsonrpc": "2.0", "id": 8, "method": "classes"}])
    batch = client.wait(lambda one: isinstance(one, list))
    assert sorted(one["id"] for one in batch) == [7, 8]
    assert all("result" in one for one in batch)
    client.call(9, "preview", **{"class": "mushroom"}, seeds=[4], **out)
    assert client.answer(9)["result"]
    client.call(10, "shutdown")
    client.noted("bye")
    assert not [
        one for one in client.messages if isinstance(one, dict) and one.get("params", {}).get("seed") == 2
    ]
    assert list((tmp_path / "out").glob("mushroom-0002*"))  # it was carried out, and nobody was told
