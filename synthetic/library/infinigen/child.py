"""`python -m synthetic.library.infinigen.child JOB`: makes one object of a factory, in a Blender of its own.

JOB is a FactoryJob as JSON. What is made goes into its folder: surface.npz and color.png, exit status 0; or
failure.txt with the reason in one sentence, exit status 1.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthetic.layouts.shapenet import BrokenModelError
from synthetic.library.infinigen.job import FAILURE, FactoryJob
from synthetic.workers.blender_process import LeaveWithoutDestructors, die_with_parent, prepare_blender

if TYPE_CHECKING:
    from synthetic.staging.surface import Surface

_CONFIGURATIONS = ["infinigen_examples/configs_indoor", "infinigen_examples/configs_nature"]
_LONGEST = 300  # letters of a reason


def make(job: FactoryJob) -> Surface:
    """The object's surface, its texture a file in the job's folder. Raises BrokenModelError with the reason."""
    prepare_blender(job.folder)
    from synthetic.blender import baking
    from synthetic.blender.offline import stay_offline

    stay_offline()
    try:
        made = _spawn(job)
    except Exception as error:  # factories fail in all ways that Python knows
        traceback.print_exc()
        raise BrokenModelError(_last_line(error)) from error
    parts = baking.parts_of([made])
    if not parts:
        raise BrokenModelError("the factory made nothing with faces")
    baking.decimate(parts, job.max_faces)
    return baking.bake(parts, job.folder, job.texture, job.front, job.threads)


def _spawn(job: FactoryJob) -> Any:
    """The object in Blender's scene that a factory makes of its seed."""
    infinigen: Any = importlib.import_module("infinigen")
    butil: Any = importlib.import_module("infinigen.core.util.blender")
    seeds: Any = importlib.import_module("infinigen.core.util.math")
    init: Any = importlib.import_module("infinigen.core.init")
    factory = _factory(Path(infinigen.__file__).parent / "assets/objects", job.factory)
    init.apply_gin_configs(_CONFIGURATIONS, skip_unknown=True)
    butil.clear_scene()
    with seeds.FixedSeed(job.seed):
        maker = factory(job.seed)
        made = maker.spawn_asset(0)
        maker.finalize_assets(made)
    return made


def _factory(folder: Path, name: str) -> Any:
    """The class of that name. Raises LookupError."""
    for room in sorted(path.stem for path in folder.iterdir() if not path.name.startswith("_")):
        module = importlib.import_module(f"infinigen.assets.objects.{room}")
        if hasattr(module, name):
            return getattr(module, name)
    raise LookupError(f"this version of Infinigen has no {name}")


def _last_line(error: Exception) -> str:
    """The end of an exception's text, with its type."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[-1]}".rstrip(": ")[:_LONGEST]


def main() -> int:
    """Makes the object; the exit status."""
    die_with_parent()
    os.dup2(2, 1)
    job = FactoryJob.from_json(json.loads(sys.argv[1]))
    try:
        job.write(make(job))
    except BrokenModelError as error:
        (job.folder / FAILURE).write_text(str(error), encoding="utf-8")
        return 1
    return 0


if __name__ == "__main__":
    with LeaveWithoutDestructors():
        sys.exit(main())
