"""The tools of `gp3d mcp`, on the official Python SDK; what they do, and every limit, is the worker's.

Files are written into one folder that was named at the start, and nowhere else: tools choose names in it, no paths.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from mcp.server.mcpserver import Context, Image, MCPServer
from mcp.server.mcpserver.exceptions import ToolError

from gp3d_core import __version__
from gp3d_core.datasets.imagenet import choose_class
from gp3d_core.errors import GP3DError
from gp3d_core.mcp_server.client import WorkerClient
from gp3d_core.pretrained.report_cards import card_of
from gp3d_core.snapshots.catalogue import catalogue
from gp3d_core.snapshots.run_folder import find_snapshot

_HALF_TURN = 180.0  # degrees
MOST_PICTURES = 12  # of one answer, whose pictures are in it
_INSTRUCTIONS = (
    "GP3D makes textured 3D objects from a class and a seed. List the classes first; preview a few seeds and look at "
    "them; then make a mesh of the best. The same class and seed give the same object. Files appear in one folder."
)
_FACTS = ("files", "recipe_path", "vertices", "faces", "warnings", "remarks", "class_note", "view", "seconds")


def serve_tools(folder: Path, snapshot: Path | None, command: Sequence[str]) -> None:
    """Serves the client at the other end of stdin and stdout until it leaves; writes into `folder`, which is there.

    `snapshot` is the model, None the pretrained ones; `command` starts a worker of protocol 2 that has it.
    """
    tools = Tools(WorkerClient(command, folder), folder, snapshot)
    server = MCPServer(
        "gp3d",
        instructions=_INSTRUCTIONS,
        version=__version__,
        log_level="WARNING",
        lifespan=tools.lifespan,
    )
    server.add_tool(tools.preview, structured_output=False)  # pictures are content of their own kind
    for tool in (tools.list_classes, tools.mesh, tools.image_to_3d, tools.report):
        server.add_tool(tool)
    server.run("stdio")


class Tools:
    """The functions that a client may call; their docstrings are what it reads about them."""

    def __init__(self, worker: WorkerClient, folder: Path, snapshot: Path | None) -> None:
        self._worker, self._folder, self._snapshot = worker, folder, snapshot

    @asynccontextmanager
    async def lifespan(self, _: Any) -> AsyncIterator[None]:
        """A block at whose end the worker ends."""
        try:
            yield
        finally:
            await self._worker.close()

    async def list_classes(self, search: str = "") -> dict[str, Any]:
        """List what can be made: classes by name, and how good each is (good, fair, rough; null where not measured).

        With `search` only those whose names or definition contain it.
        """
        found = (await self._ask("classes", {}))["classes"]
        wanted = search.strip().lower()
        shown = [one for one in found if wanted in " ".join([*one["names"], one["definition"] or ""]).lower()]
        keys = ("name", "names", "definition", "badge", "model")
        return {"classes": [{key: one[key] for key in keys} for one in shown], "of": len(found)}

    async def preview(
        self,
        class_name: str,
        ctx: Context[Any, Any],
        seeds: Sequence[int] = (0, 1, 2, 3),
        truncation: float = 0.7,
        yaw_degrees: float | None = None,
        yaw: float | None = None,
        resolution: int | None = None,
    ) -> list[Any]:
        """Look at objects before making meshes: one picture for each of 1 to 12 seeds, and where its PNG file lies.

        `truncation` 0 is typical, 1 wild, up to 2; `yaw_degrees` is the direction, −180 to 180, 0 from the front, or
        `yaw` the same in radians, −π to π; `resolution` 16 to 1024 pixels, by default as the model was trained.
        """
        if yaw_degrees is not None:
            if yaw is not None:
                raise ToolError("yaw_degrees and yaw: expected one of them, found both. Leave yaw out.")
            if not -_HALF_TURN <= yaw_degrees <= _HALF_TURN:
                raise ToolError(f"yaw_degrees: expected a number from -180 to 180, found {yaw_degrees}.")
            yaw = math.radians(yaw_degrees)
        if len(seeds) > MOST_PICTURES:
            raise ToolError(
                f"seeds: expected at most {MOST_PICTURES}, found {len(seeds)}. Ask for fewer at a time."
            )
        params = {"class": class_name, "seeds": list(seeds), "truncation": truncation, "yaw": yaw or 0.0}
        more = {} if resolution is None else {"resolution": resolution}
        result = await self._ask("preview", {**params, **more, "dir": str(self._folder)}, ctx)
        pictures = result["pictures"]
        lines = [f"seed {one['seed']}: {one['path']}" for one in pictures]
        note = [result["class_note"]] if "class_note" in result else []
        return ["\n".join([*note, *lines]), *(Image(path=one["path"]) for one in pictures)]

    async def mesh(
        self,
        class_name: str,
        ctx: Context[Any, Any],
        seed: int = 0,
        format: str = "glb",
        truncation: float = 0.7,
        grid: int = 128,
        faces: int = 30000,
        name: str | None = None,
    ) -> dict[str, Any]:
        """Make the textured mesh of a class and a seed as a file, with its recipe beside it.

        `format` is glb, obj, ply, npz, stl, 3mf or usdz; `grid` 8 to 2048 samples an axis (finer is slower: 128 takes
        seconds, 256 half a minute); `faces` at least 4, or 0 for all; `name` of the file without suffix, letters,
        digits, `_`, `-`, `.`; a file of that name is replaced.
        """
        params = {"class": class_name, "seed": seed, "truncation": truncation, "grid": grid, "faces": faces}
        return _facts(await self._ask("mesh", {**params, **self._files(format, name)}, ctx))

    async def image_to_3d(
        self,
        picture: str,
        ctx: Context[Any, Any],
        mask: str | None = None,
        format: str = "glb",
        grid: int = 128,
        name: str | None = None,
    ) -> dict[str, Any]:
        """Make a textured mesh of what a picture shows, as its camera saw it, by the model of scenes that comes along.

        `picture` and `mask` (white where the subject is) are paths, from the folder of the files if relative; the other
        parameters are as for meshes.
        """
        params = {"picture": picture, "mask": mask, "tokenizer": "box", "grid": grid}
        return _facts(await self._ask("picture", {**params, **self._files(format, name)}, ctx))

    async def report(self, class_name: str) -> dict[str, Any]:
        """What is known of a class: how good its objects were measured to be, which model makes it, and its licence.

        `geometry` is its report card: a badge (good, fair, rough), `measures` by name, each with the value and where
        known that of real models, and the page, a file with a picture; null where nobody measured.
        """
        try:
            known = catalogue(None if self._snapshot is None else find_snapshot(self._snapshot))
            chosen = choose_class(class_name, known.classes)
            [(owner, labels)] = known.by_model([chosen.entry.label or 0])
        except GP3DError as error:
            raise ToolError(str(error)) from None
        record: Mapping[str, Any] = owner.classes[next(iter(labels)) or 0]
        return {
            "class": record["name"],
            "definition": chosen.entry.definition,
            "badge": record.get("badge"),
            "measures": record.get("measures", {}),
            "geometry": card_of(owner.path, record),
            "model": owner.path.name,
            "license": owner.license,
        }

    def _files(self, format: str, name: str | None) -> dict[str, Any]:
        """The fields of a request that say where its files go."""
        named = {} if name is None else {"stem": name}
        return {"formats": [format], "dir": str(self._folder), **named}

    async def _ask(
        self, method: str, params: Mapping[str, Any], ctx: Context[Any, Any] | None = None
    ) -> dict[str, Any]:
        """The worker's result. Raises ToolError with its one sentence, and what to do."""

        async def hear(stage: str, done: int, total: int) -> None:
            if ctx is not None:
                await ctx.report_progress(done, total, stage)

        try:
            return await self._worker.call(method, params, hear)
        except GP3DError as error:
            raise ToolError(str(error)) from None


def _facts(result: Mapping[str, Any]) -> dict[str, Any]:
    return {key: result[key] for key in _FACTS if key in result}
