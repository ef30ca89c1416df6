"""Makes the report cards that a pretrained model brings, of its evaluation (`make report-cards`).

    gp3d evaluate box runs/box/train --report --pixels 64 --shapes 161 --truncation 0.7 --out runs/cards/box
    python tools/report_cards.py box runs/cards/box

Writes gp3d_core/pretrained/report_cards/NAME: a page and a picture for every class, an index, and cards.json. The cards
are of the weights: a model whose badges or licences have changed keeps them, one that was trained on does not.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from gp3d_core.evaluation.report.folder import EvaluationFolder  # noqa: E402  the path comes first
from gp3d_core.evaluation.reportcard.pages import FOLDER, write_copy  # noqa: E402
from gp3d_core.pretrained import MODELS, pretrained_path  # noqa: E402
from gp3d_core.pretrained.report_cards import folder_of, weights_digest  # noqa: E402

_WIDTH, _QUALITY = 540, 25  # of a picture


def main() -> int:
    """Writes the folder of one model, and says how large it is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=[one.name for one in MODELS])
    parser.add_argument("evaluation", type=Path, help="folder of gp3d evaluate NAME … --report")
    options = parser.parse_args()
    folder, out = EvaluationFolder(options.evaluation), folder_of(options.name)
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    drawn = set()
    for path in sorted((options.evaluation / FOLDER).glob("*.png")):
        with Image.open(path) as picture:
            small = picture.convert("RGB")
        small.thumbnail((_WIDTH, small.height))
        small.save(out / f"{path.stem}.webp", quality=_QUALITY, method=6)
        drawn.add(path.stem)
    count = write_copy(folder, out, drawn, weights_digest(pretrained_path(options.name)))
    size = sum(path.stat().st_size for path in out.iterdir())
    print(f"{out}: {count} classes, {size / 1e6:.2f} MB")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("stopped")
