"""Runs in a Python with the wheel bpy for tools/asset_library.py: the add-on makes objects and saves them as assets.

The only argument is a job as JSON; lines of JSON go to stdout: {"done": NAME} for each asset, {"error": SENTENCE} at
the end of a run that failed.
"""

from __future__ import annotations

import json
import os
import sys

import bpy

MODULE = "bl_ext.user_default.gp3d"
AUTHOR = "The GP3D authors"


def install(job: dict) -> None:
    """Installs the add-on and points it to the engine. Raises RuntimeError where it cannot."""
    bpy.ops.extensions.package_install_files(
        filepath=job["addon"], repo="user_default", enable_on_install=True
    )
    if MODULE not in bpy.context.preferences.addons:
        raise RuntimeError(f"the add-on cannot be installed below {os.environ['BLENDER_USER_RESOURCES']}")
    preferences = bpy.context.preferences.addons[MODULE].preferences
    preferences.engine_path, preferences.snapshot = job["engine"], job["model"]


def make(class_name: str, seed: int, job: dict) -> str:
    """Makes an object and saves it into the library; its name. Raises RuntimeError with what Blender says."""
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    bpy.ops.gp3d.generate(class_name=class_name, seed=seed, as_asset=True)
    obj = bpy.context.active_object
    if obj is None or obj.asset_data is None:
        raise RuntimeError("no asset was made")
    made = json.loads(obj["gp3d"])
    made["model"].pop("path", None)  # where the model lies here is nobody's business elsewhere
    obj["gp3d"] = json.dumps(made)
    data = obj.asset_data
    data.author = AUTHOR
    data.license = str(made["recipe"].get("license", ""))
    bpy.ops.gp3d.save_to_library(folder=job["folder"])
    return obj.name


def main() -> int:
    """The exit code."""
    events = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what Blender prints is for the log
    job = json.loads(sys.argv[1])
    at = ""
    try:
        install(job)
        for class_name, seed in job["objects"]:
            at = f"{class_name}, seed {seed}: "
            name = make(class_name, seed, job)
            print(json.dumps({"done": name}), file=events, flush=True)
    except (RuntimeError, OSError) as error:
        sentence = str(error).strip().removeprefix("Error: ").split("\n")[0]
        print(json.dumps({"error": at + sentence}), file=events, flush=True)
        return 1
    return 0


try:
    status = main()
except KeyboardInterrupt:
    print("stopped", file=sys.stderr)
    status = 1
sys.stdout.flush()
sys.stderr.flush()
os._exit(status)  # Blender's destructors crash
