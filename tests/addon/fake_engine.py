"""Speaks docs/serve.md without a model, in as many good and bad ways as the first argument says."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
from fake_files import arrays, picture  # this script's folder is on the path
from fake_objects import flat, plain

CLASSES = [
    {"label": 0, "name": "coffee mug", "imagenet_index": 504, "wnid": "n03063599"},
    {"label": 1, "name": "teapot", "imagenet_index": 849, "wnid": "n04398044"},
    {"label": 2, "name": "gadget", "imagenet_index": None, "wnid": None},
]
MODE, *ARGUMENTS = sys.argv[1:]
HORSE = {"label": 1, "name": "horse", "imagenet_index": None, "wnid": "n02374451"}
CREDITS = "Learnt from models by Wildfire Games (CC-BY-SA-3.0)."
ZOO = {"license": "CC-BY-SA-4.0", "credits": CREDITS}
if MODE == "several":  # models, of which each makes its own classes
    CLASSES = [*({**one, "model": "box"} for one in CLASSES), {**HORSE, "model": "zoo", "badge": "fair"}]
CANCELLED: set[str] = set()
LOCK = threading.Lock()


def say(event: str, **fields) -> None:
    with LOCK:
        sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
        sys.stdout.flush()


def fail(number, code: str, message: str) -> None:
    say("error", id=number, code=code, message=message, action="Try something else")


def record(query) -> dict | None:
    return next((c for c in CLASSES if query in (c["name"], c["wnid"], c["imagenet_index"])), None)


def mesh(number: str, ask: dict) -> None:
    ask, combined = plain(ask)
    if MODE == "crash":
        sys.stderr.write("Traceback of a fault\nValueError: the fault\n")
        sys.stderr.flush()
        os._exit(3)
    if MODE == "garbage-later":
        sys.stdout.write("Segmentation fault\n{]\n" * 20)
        sys.stdout.flush()
        time.sleep(60)
    if MODE == "silent":
        time.sleep(60)
    if MODE == "oom" and ask["grid"] > 64:
        return fail(number, "E_OOM", "out of memory")
    if MODE == "empty":
        return fail(number, "E_EMPTY_MESH", "no surface at level 10")
    if ask["op"] == "mesh" and record(ask["class"]) is None:
        return fail(number, "E_CLASS", f"unknown class {ask['class']}")
    for step in range(100 if MODE in ("slow", "deaf") else 2):
        say("progress", id=number, stage="density", done=step, total=100, seconds=0.1 * step)
        time.sleep(0.1 if MODE in ("slow", "deaf") else 0)
        if number in CANCELLED and MODE != "deaf":
            return fail(number, "E_CANCELLED", "cancelled")
    more = {}
    if ask["op"] == "picture":
        more = {"tokenizer": {"name": "tok.safetensors", "path": ask["tokenizer"], "sha256": "abcdef012345"}}
        made = picture_facts(ask)
    else:
        made = {"class": record(ask["class"]), "grid": ask["grid"]} | {
            key: ask[key] for key in ("seed", "truncation")
        }
        made |= combined
        if MODE == "several":
            name = made["class"]["model"]
            made |= {"snapshot": name, "snapshot_sha256": name * 8, **(ZOO if name == "zoo" else {})}
            more["snapshot"] = {"name": name, "sha256": name * 4, "nimg": 1}
            made["asked_of"] = ask.get("model", "")
        elif "model" in ask:
            return fail(number, "E_PROTOCOL", 'unknown field "model"')
    files = write_files(ask, made)
    warnings = ["the surface would have torn"] if MODE == "torn-budget" else []
    more |= parts(ask, made)
    say(
        "result",
        warnings=warnings,
        id=number,
        op=ask["op"],
        files=files,
        recipe=made,
        vertices=25,
        faces=14,
        seconds=0.2,
        **more,
    )


def picture_facts(ask: dict) -> dict:
    """The recipe of a picture: which files it was made of."""
    keys = {"picture_sha256": "picture", "tokenizer": "tokenizer", "mask_sha256": "mask"}
    hashes = {
        key: hashlib.sha256(Path(ask[name]).read_bytes()).hexdigest()
        for key, name in keys.items()
        if ask.get(name)
    }
    return {"picture": Path(ask["picture"]).name, "grid": ask["grid"], **hashes}


def write_files(ask: dict, made: dict) -> dict[str, str]:
    """The files of a mesh by format; all but npz hold nothing but what was asked for."""
    folder, files = Path(ask["dir"]), {}
    folder.mkdir(exist_ok=True)
    for kind in ask["formats"]:
        path = folder / f"{ask.get('stem', 'mesh')}.{kind}"
        files[kind] = str(path)
        if kind != "npz":
            path.write_text(
                json.dumps({key: value for key, value in ask.items() if key not in ("id", "dir")})
            )
        elif MODE == "torn":
            path.write_bytes(b"PK\x03\x04 no more")
        else:
            content = arrays(ask["color"], ask.get("seed", 0), ask["grid"])
            np.savez_compressed(path, format="gp3d-mesh", version=1, recipe=json.dumps(made), **content)
    return files


def parts(ask: dict, made: dict) -> dict:
    """Levels and a hull, as an engine has them that knows them; none in the mode torn-budget, which says why."""
    if MODE == "torn-budget":
        return {"remarks": ["no quads could be had; the triangles stay"]} if ask.get("quads") else {}
    more: dict = {}
    if ask.get("lods", 1) > 1:
        stems = [f"{ask.get('stem', 'mesh')}_LOD{number}" for number in range(1, ask["lods"])]
        more["lods"] = [write_files({**ask, "stem": stem}, made) for stem in stems]
    if ask.get("collision"):
        box = arrays("none", 0, 0)
        vertices = np.concatenate([box["vertices"], box["vertices"] + np.float32([2, 0, 0])])
        path = Path(ask["dir"]) / "mesh_collision.npz"
        faces = np.concatenate([box["faces"], box["faces"] + 25]).astype(np.int32)
        np.savez_compressed(path, format="gp3d-mesh", version=1, recipe="{}", vertices=vertices, faces=faces)
        more["collision"] = {"npz": str(path)}
    return more


def preview(number: str, ask: dict) -> None:
    if "objects" in ask:
        return previews_of_objects(number, ask)
    for index, seed in enumerate(ask["seeds"]):
        path = Path(ask["dir"]) / f"{seed}.png"
        picture(path, ask.get("resolution", 32), seed)
        time.sleep(0.3 if MODE == "slow" else 0)
        if number in CANCELLED:
            return fail(number, "E_CANCELLED", "cancelled")
        say(
            "preview",
            id=number,
            index=index,
            seed=seed,
            truncation=ask["truncation"],
            path=str(path),
            width=32,
            height=32,
        )
    say("result", id=number, op="preview", pictures=[], seconds=0.1)


def previews_of_objects(number: str, ask: dict) -> None:
    index = 0
    for wanted in ask["objects"]:
        said = flat(wanted)
        main = said["parents"][0] if "parents" in said else said
        if MODE == "flat" and "parents" in said:
            return fail(number, "E_COMBINE", "the model has no late style codes to take colours from")
        for turn, yaw in enumerate(ask["yaws"]):
            if MODE == "dies" and index == 3:
                os._exit(3)
            path = Path(ask["dir"]) / f"{index}.png"
            picture(path, ask["resolution"], main["seed"] + 13 * turn)
            time.sleep(0.3 if MODE == "slow" else 0)
            if number in CANCELLED:
                return fail(number, "E_CANCELLED", "cancelled")
            facts = {"seed": main["seed"], "class": record(main["class"]), "object": said, "yaw": yaw}
            say("preview", id=number, index=index, truncation=ask["truncation"], path=str(path), **facts)
            index += 1
    say(
        "result",
        id=number,
        op="preview",
        pictures=[],
        snapshot={"name": "box", "sha256": "b" * 12},
        seconds=0.1,
    )


def lift(number: str, ask: dict) -> None:
    """A wall with a picture, 2 wide, and another behind it; told with the hashes of the files that it was asked of."""
    if Path(ask["picture"]).name == "bad.png":
        return fail(number, "E_PICTURE", f"{ask['picture']} is no picture in a format that is read")
    if Path(ask.get("depth_model", "")).name == "other.pt":
        return fail(number, "E_BAD_WEIGHTS", f"{ask['depth_model']}: expected weights of TCMonoDepth small")
    for step in range(60 if MODE == "slow" else 2):
        say("progress", id=number, stage="filling", done=step, total=60, seconds=0.1 * step)
        time.sleep(0.1 if MODE == "slow" else 0)
        if number in CANCELLED:
            return fail(number, "E_CANCELLED", "cancelled")
    folder, stem = Path(ask["dir"]), ask.get("stem", "relief")
    made = {"picture": Path(ask["picture"]).name, "grid": ask["grid"]}
    source = "depth" if "depth" in ask else "depth_model"
    made[source] = Path(ask[source]).name
    for key, name in (("picture", "picture"), (source, "depth"), ("mask", "mask")):
        if key in ask:
            made[f"{name}_sha256"] = hashlib.sha256(Path(ask[key]).read_bytes()).hexdigest()
    files, filled = {}, None
    if "glb" in ask["formats"]:
        (folder / f"{stem}.glb").write_text(
            json.dumps({k: v for k, v in ask.items() if k not in ("id", "dir")})
        )
        files["glb"] = str(folder / f"{stem}.glb")
    if "npz" in ask["formats"]:
        uv = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
        for name, depth, more in (
            ("seen", 0, {}),
            ("filled", -1, {"texture": np.full((2, 2, 3), 9, np.uint8)}),
        ):
            corners = np.concatenate([uv * 2 - 1, np.full((4, 1), depth)], axis=1).astype(np.float32)
            corners[:, :2] *= 1 - depth
            wall = {
                "vertices": corners,
                "faces": np.array([[0, 1, 2], [0, 2, 3]], np.int32),
                "uv": uv,
                **more,
            }
            np.savez(folder / f"{name}.npz", format="gp3d-mesh", version=1, recipe=json.dumps(made), **wall)
        picture(folder / "texture.png", 32, 0)
        files["npz"], filled = str(folder / "seen.npz"), {"npz": str(folder / "filled.npz")}
        if ask.get("mask"):
            filled = None
    camera = {"distance": 2.0, "fov": 53.1301, "width": 32, "height": 32, "near": 2.0, "far": 3.0}
    say(
        "result",
        id=number,
        op="lift",
        files=files,
        filled=filled,
        texture=str(folder / "texture.png"),
        camera=camera,
        recipe=made,
        remarks=["field of view 53.13°, assumed: the picture does not say it"],
        warnings=[],
        seconds=0.1,
    )


def trust(number: str, ask: dict) -> None:
    """Values for the vertices of `mesh`: what lies above the middle was seen; told with what was asked for."""
    for name in ("formats", "thumbnail"):
        if name in ask:
            return fail(number, "E_PROTOCOL", f'unknown field "{name}"')
    for step in range(60 if MODE == "slow" else 2):
        say("progress", id=number, stage="supervision", done=step, total=60, seconds=0.1 * step)
        time.sleep(0.1 if MODE == "slow" else 0)
        if number in CANCELLED:
            return fail(number, "E_CANCELLED", "cancelled")
    made = arrays("none", ask.get("seed", 0), ask["grid"])
    vertices = made["vertices"]
    seen = (vertices[:, 1] > 0).astype(np.float32)
    colors = np.where(seen[:, None] > 0, (0, 158, 115), (213, 94, 0)).astype(np.uint8)
    values = {"supervision": seen, "supervision_colors": colors}
    facts: dict = {"never_seen": 0.25, "watertight": False}
    if ask["op"] == "trust":
        away = np.where(vertices[:, 0] > 0, np.nan, 0.02).astype(np.float32)
        values |= {"disagreement": away, "disagreement_colors": np.full((25, 3), 150, np.uint8)}
        facts |= {"disagreement": 0.0123, "thin_parts_kept": None}
    if MODE == "torn":
        del values["supervision_colors"]
    path = Path(ask["dir"]) / "mesh.trust.npz"
    where = {"vertices": vertices, "faces": made["faces"]}
    np.savez_compressed(path, format="gp3d-trust", version=1, **where, **values)
    say("result", id=number, op=ask["op"], file=str(path), vertices=25, facts=facts, warnings=[], seconds=0.1)


JOBS = {
    "mesh": mesh,
    "picture": mesh,
    "lift": lift,
    "preview": preview,
    "trust": trust,
    "trust_picture": trust,
}


def work(jobs: list[dict], wake: threading.Condition) -> None:
    while True:
        with wake:
            while not jobs:
                wake.wait()
            ask = jobs.pop(0)
        say("started", id=ask["id"])
        JOBS[ask["op"]](ask["id"], ask)


def begin() -> None:
    if MODE == "mute":
        time.sleep(60)
    if MODE == "garbage":
        sys.stdout.write("Welcome to something else!\n" * 50)
        sys.stdout.flush()
        time.sleep(60)
    if MODE == "old":
        sys.stderr.write("gp3d: invalid choice: 'serve'; see gp3d --help\n")
        sys.exit(2)
    if MODE == "family":  # a child that outlives a careless end
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"])
        Path(os.environ["GP3D_FAKE_CHILD"]).write_text(str(child.pid))
    protocol = 99 if MODE == "future" else 1
    say("hello", protocol=protocol, gp3d="0.1.0-fake", pid=os.getpid(), max_line=65536, queue=32, ops=[])
    if MODE == "empty-handed":
        return fail(None, "E_NO_WEIGHTS", "there is no snapshot at /a/long/way/to/model.safetensors")
    if MODE == "chatty":
        sys.stdout.write("a library says hello\n")
    facts = {"name": "snapshot-000002.00.safetensors", "sha256": "0123456789ab", "nimg": 2000}
    more = {}
    if MODE == "several":
        facts["name"] = "box"
        more["models"] = [
            {"name": "box", "classes": 3, "license": "Apache-2.0", "credits": ""},
            {"name": "zoo", "classes": 1, **ZOO},
        ]
    say(
        "ready",
        id=None,
        device="cpu",
        device_name="2 CPU threads",
        snapshot=facts,
        classes=len(CLASSES),
        resolution=32,
        **more,
        formats=["obj", "glb", "ply", "npz", "stl"],
    )


def main() -> None:
    jobs: list[dict] = []
    wake = threading.Condition()
    threading.Thread(target=work, args=(jobs, wake), daemon=True).start()
    begin()
    for line in sys.stdin:
        ask = json.loads(line)
        if ask["op"] in JOBS:
            with wake:
                jobs.append(ask)
                wake.notify()
        elif ask["op"] == "classes":
            say("result", id=ask["id"], op="classes", classes=CLASSES)
        elif ask["op"] == "cancel":
            CANCELLED.add(ask["target"])
            say("result", id=ask["id"], op="cancel", target=ask["target"], state="running")
        elif ask["op"] == "shutdown":
            say("bye", reason="shutdown")
            return
        elif ask["op"] == "hello" and MODE == "future":
            fail(ask["id"], "E_VERSION", "this engine speaks protocol 99")
    if MODE == "deaf":
        time.sleep(60)


main()
