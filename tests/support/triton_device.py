"""Where kernels run in tests: on a CUDA card if there is one, else in Triton's interpreter.

Import this before anything imports Triton: the interpreter is chosen when kernels are made.
"""

from __future__ import annotations

import os

import torch

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
if DEVICE == "cpu":
    os.environ.setdefault("TRITON_INTERPRET", "1")
