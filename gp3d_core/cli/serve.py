"""The commands `gp3d serve` and `gp3d mcp`: work for other programs."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path

from gp3d_core.cli.arguments import new_path, number, share_cores
from gp3d_core.cli.models import add_model, chosen_models
from gp3d_core.cli.process.imports import for_good
from gp3d_core.errors import GP3DError
from gp3d_core.pretrained import is_name


class SdkError(GP3DError):
    """The library of the Model Context Protocol is missing."""

    exit_code = 3


def add_serve(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `gp3d serve`."""
    add_model(parser)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument(
        "--cache-mb",
        type=number(int, 0, 1e6),
        default=256,
        help="memory for objects made before (default 256)",
    )
    parser.add_argument(
        "--idle-seconds",
        type=number(float, 0, 1e9),
        default=600.0,
        help="end after so long without work, 0 for never (default 600)",
    )
    parser.add_argument(
        "--protocol",
        type=number(int, 1, 2),
        default=1,
        help="1 (default), or 2 for JSON-RPC 2.0; both in docs/serve.md",
    )
    parser.set_defaults(command=_serve)


def add_mcp(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `gp3d mcp`."""
    add_model(parser)
    parser.add_argument(
        "--folder",
        type=new_path,
        required=True,
        help="where all files go; nothing is written elsewhere",
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.set_defaults(command=_mcp)


def _mcp(options: argparse.Namespace) -> int:
    if importlib.util.find_spec("mcp") is None:
        raise SdkError("gp3d mcp needs the package mcp, which is not installed: pip install 'mcp>=2'")
    from gp3d_core.atomic import check_writable

    chosen_models(options.snapshot)  # a model that is not there is said now, not when a tool is called
    folder: Path = options.folder
    check_writable(folder)
    folder.mkdir(parents=True, exist_ok=True)
    from gp3d_core.mcp_server.server import serve_tools

    model = None if options.snapshot is None or is_name(str(options.snapshot)) else options.snapshot.resolve()
    named = [] if options.snapshot is None else [str(model or options.snapshot)]
    worker = ("serve", "--protocol", "2", "--idle-seconds", "0", "--device", options.device)
    command = [sys.executable, "-m", "gp3d_core.cli", *worker, *named]
    serve_tools(folder.resolve(), options.snapshot, command)
    return 0


def _serve(options: argparse.Namespace) -> int:
    share_cores()
    with for_good():
        from gp3d_core.pretrained import shipped_models
        from gp3d_core.worker.server import serve

    if (
        options.snapshot is None and shipped_models()
    ):  # without any the client gets an error, and may load another
        chosen_models(None)
    return serve(
        options.snapshot,
        device=options.device,
        cache_bytes=options.cache_mb * 2**20,
        idle_seconds=options.idle_seconds,
        protocol=options.protocol,
    )
