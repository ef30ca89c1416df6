"""A worker in a process of its own, spoken to in protocol 2 from an event loop (docs/serve.md)."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from gp3d_core.errors import GP3DError

Hearer = Callable[[str, int, int], Awaitable[None]]  # of a stage, how much of it is done, and of how much
_LONGEST_LINE = 4 << 20  # bytes; events have at most 1 MiB
_END_SECONDS = 5.0  # for a worker to end by itself


class WorkerError(GP3DError):
    """What the worker answers in the place of a result: its code, one sentence, and what to do."""

    def __init__(self, code: str, message: str, action: str) -> None:
        super().__init__(f"{message}. {action} ({code})" if action else f"{message} ({code})")
        self.code = code


class WorkerClient:
    """A worker that is started when it is first needed, and again after it has died."""

    def __init__(self, command: Sequence[str], folder: Path) -> None:
        """`command` starts a worker of protocol 2; relative paths of requests are meant from `folder`."""
        self._command, self._folder = list(command), folder
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._calls: dict[int, asyncio.Queue[dict[str, Any]]] = {}
        self._count = itertools.count(1)
        self._begun: asyncio.Future[None] | None = None
        self._start = asyncio.Lock()

    async def call(
        self, method: str, params: Mapping[str, Any], hear: Hearer | None = None
    ) -> dict[str, Any]:
        """The result of a method; `hear` is told how far it is. Raises WorkerError.

        If the caller is cancelled, so is the call.
        """
        async with self._start:
            if self._process is None or self._process.returncode is not None:
                await self._begin()
        return await self._ask(method, params, hear)

    async def close(self) -> None:
        """Ends the worker, if it runs."""
        process, self._process = self._process, None
        if process is None or process.stdin is None:
            return
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), _END_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()

    async def _begin(self) -> None:
        """Starts the process, and waits until its model is there. Raises WorkerError."""
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=self._folder,
            limit=_LONGEST_LINE,
        )
        self._begun = asyncio.get_running_loop().create_future()
        self._reader = asyncio.create_task(self._read(self._process))
        try:
            await self._ask("initialize", {"protocol": 2}, None)
            await self._begun
        except WorkerError:
            await self.close()
            raise

    async def _ask(self, method: str, params: Mapping[str, Any], hear: Hearer | None) -> dict[str, Any]:
        number = next(self._count)
        news: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._calls[number] = news
        self._write({"id": number, "method": method, "params": params})
        try:
            while "method" in (message := await news.get()):
                if message["method"] == "progress" and hear is not None:
                    step = message["params"]
                    await hear(step["stage"], step["done"], step["total"])
        except asyncio.CancelledError:
            self._write({"method": "$/cancelRequest", "params": {"id": number}})
            raise
        finally:
            del self._calls[number]
        if "error" in message:
            raise _error_of(message["error"])
        result: dict[str, Any] = message["result"]
        return result

    def _write(self, message: Mapping[str, Any]) -> None:
        if self._process is not None and self._process.stdin is not None:
            with suppress(OSError, RuntimeError):  # it has died, which the reader says to everybody who waits
                self._process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        """Hands out what the worker says, until it ends."""
        if process.stdout is not None:
            async for line in process.stdout:
                self._hand_out(json.loads(line))
        await process.wait()
        ended = {"error": {"code": 0, "message": "the worker has ended", "data": _ENDED}}
        for news in self._calls.values():
            news.put_nowait(ended)
        self._settle(_error_of(ended["error"]))

    def _hand_out(self, message: dict[str, Any]) -> None:
        method, params = message.get("method"), message.get("params", {})
        number = message.get("id") if method is None else params.get("id")
        if number in self._calls:
            self._calls[number].put_nowait(message)
        elif method == "ready":
            self._settle(None)
        elif method == "error":
            self._settle(WorkerError(params["code"], params["message"], params["action"]))

    def _settle(self, error: WorkerError | None) -> None:
        """The first model is there, or will not be."""
        if self._begun is None or self._begun.done():
            return
        if error is None:
            self._begun.set_result(None)
        else:
            self._begun.set_exception(error)
            self._begun.exception()  # seen, also if nobody waits any more


_ENDED = {"code": "E_INTERNAL", "action": "Ask again: it is started anew; what it said stands in the log."}


def _error_of(error: Mapping[str, Any]) -> WorkerError:
    data = error.get("data", {})
    return WorkerError(data.get("code", "E_PROTOCOL"), error["message"], data.get("action", ""))
