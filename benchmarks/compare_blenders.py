"""`python benchmarks/compare_blenders.py PYTHON ...`: the same models, drawn by this Blender and by others.

Every PYTHON has another version of the wheel `bpy`, and BlenderProc. Prints a Markdown table, which
docs/rendering.md shows; `--json` prints the figures. `--models` is a model library; without it, nine small models are
made, among them such as Blender's own importers read differently from version to version.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import trimesh
from PIL import Image

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from synthetic.layouts.shapenet import interleave, load_library  # noqa: E402  the path comes first
from synthetic.staging.stage import stage_model  # noqa: E402
from synthetic.staging.treatment import ModelLimits, Treatment  # noqa: E402
from synthetic.viewpoints import Viewpoint  # noqa: E402
from synthetic.workers.blender_process import LeaveWithoutDestructors, prepare_blender  # noqa: E402

VIEWS = tuple(
    Viewpoint(yaw=yaw, pitch=pitch, radius=2.0, fov=40.0) for yaw, pitch in ((0.5, 1.1), (2.6, 1.5))
)


@dataclass(frozen=True)
class Difference:
    """How far one Blender's views of all models are from another's.

    `mask` counts pixels; `depth` is the largest difference in world units, `normals` that of a coordinate, `albedo` and
    `color` those in bytes; `color_share` of all values differ; `psnr` is the least of a view in dB, infinite where
    colours are equal.
    """

    version: str
    numpy: str
    models: int
    mask: int
    depth: float
    normals: float
    albedo: int
    color: int
    color_share: float
    psnr: float


def write_models(folder: Path) -> None:
    """A library of nine: without material, with colours of vertices, textures, holes, metal, light of their own."""
    rng = np.random.default_rng(0)
    ball, box = trimesh.creation.icosphere(subdivisions=3, radius=0.4), trimesh.creation.box((0.6, 0.5, 0.4))
    ring = trimesh.creation.torus(0.3, 0.1, 32, 16)
    picture = Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8))
    leaf = picture.convert("RGBA")
    leaf.putalpha(Image.fromarray(np.where(rng.random((16, 16)) < 0.4, 0, 255).astype(np.uint8)))
    uv = ball.vertices[:, :2] * 1.2 + 0.5

    def save(name: str, kind: str, mesh: trimesh.Trimesh, visual: object = None) -> None:
        mesh = mesh.copy()
        mesh.visual = trimesh.visual.ColorVisuals(mesh) if visual is None else visual
        (folder / name).mkdir(parents=True)
        smooth = {"include_normals": True} if kind == "glb" else {}
        mesh.export(folder / name / f"model.{kind}", **smooth)

    def textured(mesh: trimesh.Trimesh, **material: object) -> object:
        return trimesh.visual.TextureVisuals(
            uv=uv[: len(mesh.vertices)], material=trimesh.visual.material.PBRMaterial(**material)
        )

    colors = np.column_stack(
        [rng.integers(0, 256, (len(ball.vertices), 3)), np.full(len(ball.vertices), 255)]
    )
    save("colors without material", "glb", ball, trimesh.visual.ColorVisuals(ball, vertex_colors=colors))
    save("colors", "ply", ball, trimesh.visual.ColorVisuals(ball, vertex_colors=colors))
    save("no colors", "ply", ring)
    save("plain", "stl", box)
    save("cut out", "glb", ball, textured(ball, baseColorTexture=leaf, alphaMode="MASK", alphaCutoff=0.5))
    metal = textured(ball, baseColorTexture=picture, metallicFactor=0.8, roughnessFactor=0.3)
    save("metal", "glb", ball, metal)
    grey = [0.2, 0.2, 0.2, 1.0]
    glow = textured(ball, baseColorFactor=grey, emissiveFactor=[0.3, 0.1, 0.0], metallicFactor=0.0)
    save("glowing", "glb", ball, glow)
    for name, head in (("no material", []), ("textured", ["mtllib model.mtl", "usemtl m"])):
        rows = [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in ball.vertices]
        rows += [f"vt {u:.6f} {v:.6f}" for u, v in uv]
        rows += ["f " + " ".join(f"{i}/{i}" for i in face) for face in ball.faces + 1]
        (folder / name).mkdir()
        (folder / name / "model.obj").write_text("\n".join(head + rows) + "\n")
    picture.save(folder / "textured/picture.png")
    text = "newmtl m\nKd 1 1 1\nKs 0.4 0.4 0.4\nNs 80\nmap_Kd picture.png\n"
    (folder / "textured/model.mtl").write_text(text)


def draw(library: Path, out: Path, resolution: int, samples: int, limit: int) -> None:
    """Draws models of a library from VIEWS with the Blender of this process; arrays by model and view in `out`.

    `limit` is how many of them, in turn of every class; 0 takes all.
    """
    scratch = out.with_suffix(".scratch")
    scratch.mkdir()
    prepare_blender(scratch)
    import bpy

    from synthetic.blender.scene import BlenderScene

    scene = BlenderScene(resolution, samples, scratch, 1, normals=True, albedo=True)
    arrays: dict[str, npt.NDArray[np.generic]] = {}
    for model in interleave(load_library(library))[: limit or None]:
        staged = stage_model(
            model.path, model.folder, scratch / "model", ModelLimits(), Treatment(), model.placement
        )
        scene.load(staged)
        for number, viewpoint in enumerate(VIEWS):
            view = scene.render(viewpoint)
            if view is None or view.normals is None or view.albedo is None:
                raise SystemExit(f"{model.path}: nothing of it is seen")
            parts = (view.color, view.z_depth, view.mask, view.normals, view.albedo)
            for name, part in zip(("color", "depth", "mask", "normals", "albedo"), parts, strict=True):
                arrays[f"{model.key}/{number}/{name}"] = part
    np.savez(out, version=bpy.app.version_string, numpy=np.__version__, **arrays)


def drawn_by(python: str, library: Path, out: Path, *look: int) -> dict[str, npt.NDArray]:
    """The arrays that `draw` makes under another Python, which ends the program where that fails."""
    options = zip(("--resolution", "--samples", "--limit"), look, strict=True)
    command = [python, __file__, "--draw", library, out, *(word for option in options for word in option)]
    search = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")]))
    child = subprocess.run(
        [str(word) for word in command],
        env={**os.environ, "PYTHONPATH": search},
        capture_output=True,
        text=True,
        check=False,
    )
    if child.returncode:
        raise SystemExit(f"error: {python} drew nothing:\n{child.stderr[-2000:]}")
    with np.load(out) as arrays:
        return dict(arrays)


def compare(ours: dict[str, npt.NDArray], theirs: dict[str, npt.NDArray]) -> Difference:
    """How far `theirs` is from `ours`."""
    names = sorted({key.rpartition("/")[0] for key in ours if "/" in key})
    worst = {"mask": 0, "depth": 0.0, "normals": 0.0, "albedo": 0, "color": 0}
    differing, values, psnr = 0, 0, np.inf
    for name in names:
        for part in worst:
            a, b = (source[f"{name}/{part}"] for source in (ours, theirs))
            if part == "mask":
                worst[part] += int((a != b).sum())
                continue
            both = ours[f"{name}/mask"] & theirs[f"{name}/mask"]
            gap = np.abs(a.astype(np.float64)[both] - b.astype(np.float64)[both])
            worst[part] = max(worst[part], float(gap.max()))
            if part == "color":
                differing, values = differing + int((gap > 0).sum()), values + gap.size
                error = float((gap**2).mean())
                psnr = min(psnr, 10 * np.log10(255**2 / error) if error else np.inf)
    return Difference(
        str(theirs["version"]),
        str(theirs["numpy"]),
        len({name.rpartition("/")[0] for name in names}),
        int(worst["mask"]),
        worst["depth"],
        worst["normals"],
        int(worst["albedo"]),
        int(worst["color"]),
        differing / values,
        float(psnr),
    )


def table(reference: str, differences: Sequence[Difference]) -> str:
    """The differences as a Markdown table."""
    rows = [
        f"| against {reference} | mask | depth | normals | albedo | colour |",
        "|---|---|---|---|---|---|",
    ]
    for d in differences:
        depth = "equal to the bit" if d.depth == 0 else f"≤ {d.depth:.1e}"
        normals = "equal to the bit" if d.normals == 0 else f"≤ {d.normals:.1e}"
        color = (
            "equal" if d.color == 0 else f"{d.color_share:.2%} of values, ≤ {d.color}; PSNR ≥ {d.psnr:.1f} dB"
        )
        mask = "equal" if d.mask == 0 else f"{d.mask} pixels"
        albedo = "equal" if d.albedo == 0 else f"≤ {d.albedo}"
        rows.append(f"| {d.version} | {mask} | {depth} | {normals} | {albedo} | {color} |")
    return "\n".join(rows)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pythons", nargs="*", metavar="PYTHON", help="a Python with another bpy")
    parser.add_argument("--models", type=Path, help="a model library instead of the nine made ones")
    parser.add_argument("--limit", type=int, default=0, help="so many of its models (default: all)")
    parser.add_argument("--resolution", type=int, default=128, help="pixels a side (default: 128)")
    parser.add_argument("--samples", type=int, default=16, help="light samples a pixel (default: 16)")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--draw", type=Path, nargs=2, help=argparse.SUPPRESS)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; the exit status."""
    arguments = _parser().parse_args(argv)
    look = arguments.resolution, arguments.samples, arguments.limit
    if arguments.draw:
        with LeaveWithoutDestructors():
            draw(*arguments.draw, *look)
    with tempfile.TemporaryDirectory(prefix="gp3d-blenders-") as folder:
        models = arguments.models or Path(folder) / "models"
        if not arguments.models:
            write_models(models)
        ours, *others = (
            drawn_by(python, models, Path(folder) / f"{number}.npz", *look)
            for number, python in enumerate((sys.executable, *arguments.pythons))
        )
    differences = [compare(ours, theirs) for theirs in others]
    print(
        json.dumps([asdict(d) for d in differences])
        if arguments.json
        else table(str(ours["version"]), differences)
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
