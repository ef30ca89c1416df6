"""Protocol 2 of the worker: JSON-RPC 2.0, one message or batch a line (docs/serve.md).

The worker itself speaks of events, as protocol 1 writes them; here they become responses and notifications, and calls
become requests. Inside, a call's id is a text: the JSON text of the id that the client chose, so that 1 and "1" differ,
or for a notification, which nobody waits for, a text that no JSON begins with.
"""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gp3d_core.strict_json import of_text
from gp3d_core.worker.protocol import MAX_LINE, OPERATIONS, PROTOCOL, Problem, Request, request_of

RPC_PROTOCOL = 2
INITIALIZE, CANCEL_REQUEST = "initialize", "$/cancelRequest"
METHODS: Mapping[str, Sequence[str]] = {  # parameters by method, in the order in which they may be listed
    INITIALIZE: ("protocol",),
    **{op: tuple(fields) for op, fields in OPERATIONS.items() if op != "hello"},
    CANCEL_REQUEST: ("id",),
}
PARSE_ERROR, INVALID_REQUEST, NO_METHOD, INVALID_PARAMS, INTERNAL_ERROR = (
    -32700,
    -32600,
    -32601,
    -32602,
    -32603,
)
NOT_INITIALIZED = -32002  # as language servers say it; so is the code of what was cancelled
ERROR_CODES = {
    "E_PROTOCOL": INVALID_PARAMS,
    "E_TOO_LONG": -32001,
    "E_VERSION": -32003,
    "E_BUSY": -32004,
    "E_NO_WEIGHTS": -32010,
    "E_BAD_WEIGHTS": -32011,
    "E_DEVICE": -32012,
    "E_CLASS": -32020,
    "E_PICTURE": -32021,
    "E_EMPTY_MESH": -32022,
    "E_TOO_LARGE": -32023,
    "E_SIZE": -32024,
    "E_COMBINE": -32025,
    "E_OOM": -32030,
    "E_DISK": -32031,
    "E_CANCELLED": -32800,
    "E_INTERNAL": INTERNAL_ERROR,
}
_SILENT = "~"  # begins the names of notifications
_LONGEST_ID = 128  # characters
_WITHHELD = ("ready", "error")  # of what happens before `initialize`, the last of these is said after it
_Response = dict[str, Any]


@dataclass(frozen=True)
class Call:
    """A call of a method that exists: by which name it is answered, and its parameters by name."""

    name: str
    method: str
    params: Mapping[str, Any]


@dataclass
class _Batch:
    """Calls that came in one array: what is still to be answered, and the answers."""

    waiting: set[str] = field(default_factory=set)
    answers: list[_Response] = field(default_factory=list)


class _Refusal(Exception):
    """A message that is no call: the code and the sentence of its error."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class JsonRpc:
    """A conversation in JSON-RPC 2.0, from any thread: which calls are open, and what is written for an event."""

    def __init__(self, methods: Mapping[str, Sequence[str]], greeting: Mapping[str, Any]) -> None:
        """`methods` are those that exist, with their parameters; `greeting` is said by `initialize`."""
        self._methods = methods
        self._greeting = {**greeting, "protocol": RPC_PROTOCOL, "methods": list(methods)}
        self._greeting.pop("ops", None)
        self._lock = threading.Lock()
        self._open: dict[str, _Batch | None] = {}
        self._count = itertools.count()
        self._initialized = False
        self._beginning: str | None = None  # the name of the call that initializes
        self._withheld: list[Any] = []

    @property
    def open_calls(self) -> list[str]:
        """The names of the calls that are not answered."""
        with self._lock:
            return list(self._open)

    def read(self, line: bytes | None, send: Callable[[Mapping[str, Any]], None]) -> list[Call]:
        """The calls in a line, None being one that was too long; what is no call is answered with `send` at once."""
        answers: list[Any] = []
        with self._lock:
            calls = self._calls(line, answers)
        for answer in answers:
            send({"event": "answer", "message": answer})
        return calls

    def request(self, call: Call) -> Request:
        """What the worker is asked for by a call. Raises Problem."""
        if call.method == INITIALIZE:
            return self._hello(call)
        if call.method in ("cancel", CANCEL_REQUEST):
            return self._cancel(call)
        return request_of(call.name, call.method, call.params)

    def messages_of(self, event: Mapping[str, Any]) -> Sequence[Any]:
        """What is written for an event of the worker."""
        with self._lock:
            return self._messages(event)

    def _calls(self, line: bytes | None, answers: list[Any]) -> list[Call]:
        try:
            if line is None:
                raise _Refusal(ERROR_CODES["E_TOO_LONG"], f"a line has more than {MAX_LINE} bytes")
            message = of_text(line.decode("utf-8"))
        except _Refusal as refusal:
            answers.append(_error(None, refusal))
            return []
        except ValueError as error:
            answers.append(_error(None, _Refusal(PARSE_ERROR, f"not a line of JSON ({error})")))
            return []
        if message == []:
            answers.append(_error(None, _Refusal(INVALID_REQUEST, "expected a call, found an empty array")))
            return []
        batch = _Batch() if isinstance(message, list) else None
        calls = []
        for one in message if isinstance(message, list) else [message]:
            try:
                calls.append(self._call(one, batch))
            except _Refusal as refusal:
                if _is_notification(one):
                    continue
                (answers if batch is None else batch.answers).append(_error(_id_of(one, refusal), refusal))
        if batch is not None and batch.answers and not batch.waiting:
            answers.append(batch.answers)
        return calls

    def _call(self, message: Any, batch: _Batch | None) -> Call:
        """The call in a message, which is open from now on. Raises _Refusal."""
        if not isinstance(message, dict):
            raise _Refusal(INVALID_REQUEST, "expected an object with jsonrpc, method, params and id")
        method, params = message.get("method"), message.get("params", {})
        if message.get("jsonrpc") != "2.0":
            raise _Refusal(INVALID_REQUEST, 'expected "jsonrpc": "2.0"')
        if not isinstance(method, str) or not isinstance(params, dict | list):
            raise _Refusal(INVALID_REQUEST, "expected a method, a text, and params, an object or an array")
        if unknown := sorted(set(message) - {"jsonrpc", "method", "params", "id"}):
            raise _Refusal(INVALID_REQUEST, f"unknown member {json.dumps(unknown[0])[:80]}")
        name = _name_of(message["id"]) if "id" in message else f"{_SILENT}{next(self._count)}"
        if name in self._open:
            raise _InUse(f"the id {name} is in use")
        if method not in self._methods:
            known = ", ".join(self._methods)
            raise _Refusal(NO_METHOD, f"no method {json.dumps(method)[:80]}; known are {known}")
        early = not self._initialized and self._beginning is None and method != INITIALIZE
        if early and INITIALIZE in self._methods:
            raise _Refusal(NOT_INITIALIZED, "expected the method initialize first")
        if isinstance(params, list):
            params = self._named(method, params)
        self._open[name] = None if name.startswith(_SILENT) else batch
        if batch is not None and not name.startswith(_SILENT):
            batch.waiting.add(name)
        if method == INITIALIZE:
            self._beginning = name
        return Call(name, method, params)

    def _named(self, method: str, values: Sequence[Any]) -> dict[str, Any]:
        names = self._methods[method]
        if len(values) > len(names):
            raise _Refusal(INVALID_PARAMS, f"{method} takes {len(names)} parameters, found {len(values)}")
        return dict(zip(names, values, strict=False))

    def _hello(self, call: Call) -> Request:
        request = request_of(call.name, "hello", call.params)
        if request.options["protocol"] != RPC_PROTOCOL:
            message = (
                f"this worker speaks protocol {RPC_PROTOCOL}, asked for was {request.options['protocol']}"
            )
            raise Problem("E_VERSION", message, "Start the worker with the protocol of the client.")
        return Request(
            call.name, "hello", {"protocol": PROTOCOL}
        )  # what the worker speaks; `_result` says ours

    def _cancel(self, call: Call) -> Request:
        """The request that cancels a call by the client's id of it."""
        (wanted,) = self._methods[call.method]
        if set(call.params) != {wanted}:
            raise Problem("E_PROTOCOL", f"expected {wanted}, the id of a call, alone", _ADVICE)
        try:
            return Request(call.name, "cancel", {"target": _name_of(call.params[wanted])})
        except _Refusal as refusal:
            raise Problem("E_PROTOCOL", f"{wanted}: {refusal}", _ADVICE) from None

    def _messages(self, event: Mapping[str, Any]) -> Sequence[Any]:
        kind, name = event["event"], event.get("id")
        if kind == "answer":
            return (event["message"],)
        if kind == "hello":  # clients of this protocol speak first
            return ()
        if name is not None and kind in ("result", "error"):
            return self._answered(name, self._result(name, event) if kind == "result" else _failure(event))
        if name is not None and name.startswith(_SILENT):
            return ()
        params = {key: _outside(key, value) for key, value in event.items() if key != "event"}
        message = {"jsonrpc": "2.0", "method": kind, "params": params}
        if self._initialized or kind == "bye":
            return (message,)
        if kind in _WITHHELD:
            self._withheld = [message]
        return ()

    def _answered(self, name: str, answer: _Response) -> Sequence[Any]:
        """What is written once a call has its answer; a batch is written when it has all."""
        batch = self._open.pop(name, None)
        later: list[Any] = []
        if name == self._beginning:
            self._beginning = None
            self._initialized = self._initialized or "result" in answer
            if self._initialized:
                later, self._withheld = self._withheld, []
        if name.startswith(_SILENT):
            return later
        message = {"jsonrpc": "2.0", "id": json.loads(name), **answer}
        if batch is None:
            return [message, *later]
        batch.answers.append(message)
        batch.waiting.discard(name)
        return later if batch.waiting else [batch.answers, *later]

    def _result(self, name: str, event: Mapping[str, Any]) -> _Response:
        if name == self._beginning:
            return {"result": self._greeting}
        fields = {
            key: _outside(key, value) for key, value in event.items() if key not in ("event", "id", "op")
        }
        return {"result": fields}


class _InUse(_Refusal):
    """A call whose id is that of another that is not answered; an answer with that id would be the other's."""

    def __init__(self, message: str) -> None:
        super().__init__(INVALID_REQUEST, message)


_ADVICE = "See docs/serve.md for the methods of this version."


def _name_of(value: Any) -> str:
    """An id as it is called inside. Raises _Refusal for what may be no id."""
    if isinstance(value, bool) or not isinstance(value, str | int | float | None):
        raise _Refusal(INVALID_REQUEST, "expected an id, a text, a number or null")
    if isinstance(value, str) and len(value) > _LONGEST_ID:
        raise _Refusal(INVALID_REQUEST, f"expected an id of at most {_LONGEST_ID} characters")
    return json.dumps(value)


def _is_notification(message: Any) -> bool:
    """Whether a message is whole and has no id: nobody waits for an answer, not even for an error."""
    return (
        isinstance(message, dict)
        and "id" not in message
        and message.get("jsonrpc") == "2.0"
        and isinstance(message.get("method"), str)
        and isinstance(message.get("params", {}), dict | list)
    )


def _id_of(message: Any, refusal: _Refusal) -> Any:
    """The id that the answer to a refused message has: the message's own, where it can be told and is free."""
    if not isinstance(message, dict) or isinstance(refusal, _InUse):
        return None
    try:
        return json.loads(_name_of(message.get("id")))
    except _Refusal:
        return None


def _error(name: Any, refusal: _Refusal) -> _Response:
    return {"jsonrpc": "2.0", "id": name, "error": {"code": refusal.code, "message": str(refusal)}}


def _failure(event: Mapping[str, Any]) -> _Response:
    """The error of a response, with the code and the advice of protocol 1 as its data."""
    data = {"code": event["code"], "action": event["action"]}
    return {"error": {"code": ERROR_CODES[event["code"]], "message": event["message"], "data": data}}


def _outside(key: str, value: Any) -> Any:
    """A field of an event with ids as the client knows them; null for what has none."""
    if key in ("id", "target"):
        return None if value is None or value.startswith(_SILENT) else json.loads(value)
    if key == "queued":
        return [_outside("id", one) for one in value]
    return {**value, "id": _outside("id", value["id"])} if key == "job" and value is not None else value
