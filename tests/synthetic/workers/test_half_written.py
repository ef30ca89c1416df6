"""What a Blender that is killed while it writes leaves behind is removed by who watches it."""

from __future__ import annotations

import sys
from pathlib import Path

from synthetic.dataset import Settings
from synthetic.layouts.shapenet import Model, ObjectClass
from synthetic.staging.treatment import ModelLimits
from synthetic.workers.worker import RenderJob, RenderSpec
from synthetic.workers.worker_process import RestartPolicy, WorkerProcess

HALF_DONE = """
import json, os, signal, sys
out = json.loads(sys.stdin.readline())["out"]
for line in sys.stdin:
    folder = os.path.join(out, "n03797390")
    os.makedirs(folder, exist_ok=True)
    again = os.path.exists(os.path.join(folder, "seen"))
    open(os.path.join(folder, "seen"), "w").close()
    print('{"event": "starting"}\\n{"event": "ready"}', flush=True)
    if not again:
        for name in ("mug_000.png", "other_000.png"):
            open(os.path.join(folder, f".{name}.{os.getpid()}.part"), "w").close()
        open(os.path.join(folder, f".mug_000.png.{os.getpid() + 1}.part"), "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    print('{"event": "view"}\\n{"event": "done"}', flush=True)
"""


def test_what_a_killed_blender_left_half_written_goes(tmp_path: Path) -> None:
    """Only what it wrote of the model at work: other processes may be writing beside it."""
    (tmp_path / "half_done.py").write_text(HALF_DONE)
    spec = RenderSpec(tmp_path, Settings(), ModelLimits(), 1)
    held = WorkerProcess(spec, RestartPolicy(), [sys.executable, str(tmp_path / "half_done.py")])
    mug = Model("03797390/mug", Path("nowhere"), ObjectClass("n03797390", "mug", None, "03797390"))
    try:
        assert held.run(RenderJob(mug, (0,))).end == "done"
    finally:
        held.close()
    left = sorted(path.name for path in (tmp_path / "n03797390").iterdir())
    (of_another_model,) = (name for name in left if name.startswith(".other"))
    pid = int(of_another_model.split(".")[-2])
    assert left == [f".mug_000.png.{pid + 1}.part", of_another_model, "seen"]
