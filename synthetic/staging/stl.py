from __future__ import annotations

from synthetic.staging.files import ModelFiles
from synthetic.staging.surface import ReadModel
from synthetic.staging.treatment import Treatment


def read_stl(files: ModelFiles, treatment: Treatment) -> ReadModel:
    raise NotImplementedError
