"""Readers of glTF files that run in Node: the Khronos validator, and the decoder that meshoptimizer publishes."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.source_tree import ROOT

MODULES = ROOT / ".cache" / "node" / "node_modules"

_VALIDATE = """
const validator = require("gltf-validator"), fs = require("fs");
validator.validateBytes(new Uint8Array(fs.readFileSync(process.argv[1])), {maxIssues: 0})
  .then(report => console.log(JSON.stringify(report)));
"""
_DECODE = """
const fs = require("fs"), path = require("path"), url = require("url");
const decoder = path.join(process.env.NODE_PATH, "meshoptimizer", "meshopt_decoder.mjs");
import(url.pathToFileURL(decoder).href).then(async ({MeshoptDecoder}) => {
  await MeshoptDecoder.ready;
  const file = fs.readFileSync(process.argv[1]), length = file.readUInt32LE(12);
  const tree = JSON.parse(file.subarray(20, 20 + length)), chunk = file.subarray(28 + length);
  const views = tree.bufferViews.map(view => {
    const packed = (view.extensions || {}).EXT_meshopt_compression;
    if (!packed) return null;
    const target = new Uint8Array(packed.count * packed.byteStride);
    const start = packed.byteOffset || 0, source = chunk.subarray(start, start + packed.byteLength);
    MeshoptDecoder.decodeGltfBuffer(target, packed.count, packed.byteStride, source, packed.mode, packed.filter);
    return Buffer.from(target).toString("hex");
  });
  console.log(JSON.stringify(views));
});
"""


def _run(program: str, package: str, path: Path) -> Any:
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    if not (MODULES / package).is_dir():
        pytest.skip(f"npm's {package} is not installed: make readers")
    command = ["node", "-e", program, str(path)]
    environment = {"NODE_PATH": str(MODULES), "PATH": "/usr/local/bin:/usr/bin:/bin"}
    found = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120, env=environment)
    return json.loads(found.stdout)


def validate(path: Path) -> dict[str, Any]:
    """What the Khronos validator says of a file; skips the test where it is not installed."""
    report: dict[str, Any] = _run(_VALIDATE, "gltf-validator", path)
    return report


def decode_views(path: Path) -> list[bytes | None]:
    """The buffer views of a GLB file as meshoptimizer's own decoder sees them, None for those that are plain."""
    views = _run(_DECODE, "meshoptimizer", path)
    return [None if view is None else bytes.fromhex(view) for view in views]
