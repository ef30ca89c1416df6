"""What can go wrong, each as one sentence and the name of a button that helps. No bpy."""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping, Sequence
from typing import NamedTuple

# code: (button, the sentence where the engine says none)
PROBLEMS = {
    "E_NO_ENGINE": ("CHOOSE_ENGINE", "The engine was not found"),
    "E_START": ("CHOOSE_ENGINE", "The engine cannot be started"),
    "E_VERSION": ("CHOOSE_ENGINE", "Add-on and engine do not fit together"),
    "E_GARBAGE": ("CHOOSE_ENGINE", "The engine's program does not speak the language of GP3D"),
    "E_SILENT": ("RESTART", "The engine does not respond any more and was ended"),
    "E_CRASHED": ("RESTART", "The engine stopped unexpectedly"),
    "E_NO_WEIGHTS": ("CHOOSE_SNAPSHOT", "There is no model"),
    "E_BAD_WEIGHTS": ("CHOOSE_SNAPSHOT", "The model cannot be read"),
    "E_DEVICE": ("USE_CPU", "The device is not there"),
    "E_CLASS": ("CLEAR_CLASS", "The model does not know this class"),
    "E_COMBINE": ("COPY_DIAGNOSTICS", "These objects cannot be combined"),
    "E_PICTURE": ("COPY_DIAGNOSTICS", "The picture cannot be used"),
    "E_EMPTY_MESH": ("OTHER_SEED", "There is no surface"),
    "E_TOO_LARGE": ("COPY_DIAGNOSTICS", "No mesh is so small"),
    "E_SIZE": ("COPY_DIAGNOSTICS", "How large such a thing is in the world is not known"),
    "E_OOM": ("LOWER_QUALITY", "Memory ran out"),
    "E_DISK": ("COPY_DIAGNOSTICS", "A file could not be written"),
    "E_BAD_MESH": ("COPY_DIAGNOSTICS", "The engine's mesh cannot be read"),
    "E_BUSY": ("RESTART", "Too many jobs are waiting in the engine"),
    "E_PROTOCOL": ("COPY_DIAGNOSTICS", "The engine refused the request"),
    "E_INTERNAL": ("COPY_DIAGNOSTICS", "The engine made a mistake"),
}
# Another button helps where a picture was to become a mesh
_OF_PICTURES = {
    "E_NO_WEIGHTS": "CHOOSE_VQ3D",
    "E_BAD_WEIGHTS": "CHOOSE_VQ3D",
    "E_EMPTY_MESH": "COPY_DIAGNOSTICS",
}
_OF_RELIEFS = {"E_NO_WEIGHTS": "CHOOSE_DEPTH_MODEL", "E_BAD_WEIGHTS": "CHOOSE_DEPTH_MODEL"}
# What the panels call the parameters that messages of the engine name in backticks
_LABELS = {
    "class": "Class",
    "collision": "Collision Parts",
    "color": "Colour",
    "compress": "Compress",
    "crop_depth": "Depth Cut",
    "depth": "Depth",
    "depth_model": "Depth Model",
    "device": "Device",
    "faces": "Max Faces",
    "grid": "Quality",
    "fov": "Field of View",
    "keep": "One Piece",
    "kind": "Holds",
    "lods": "LODs",
    "mask": "Mask",
    "max_size": "Max Size",
    "picture": "Picture",
    "print_height": "Height",
    "quads": "Quads",
    "ratio": "Far / Near",
    "size": "Real Size",
    "snapshot": "Model",
    "texture_size": "Pixels",
    "tokenizer": "Image Model",
    "truncation": "Variety",
}
_LONGEST = 300


class RequestError(Exception):
    """Choices that cannot become a job; the message is one sentence."""


class Problem(NamedTuple):
    """What went wrong: a code, one sentence, the button that helps, and a hint from the engine, maybe empty."""

    code: str
    sentence: str
    button: str
    hint: str = ""

    @classmethod
    def of(cls, code: str, sentence: str = "", hint: str = "") -> Problem:
        """The problem of that code, in its usual words unless others are given."""
        button, usual = PROBLEMS.get(code, ("COPY_DIAGNOSTICS", "Something went wrong in the engine"))
        return cls(code, _one_line(sentence or usual), button, _one_line(hint))


def from_engine(message: Mapping[str, object], op: str = "") -> Problem:
    """The problem of an `error` event that ended a job of this kind."""
    sentence, hint = (
        _labelled(text) if isinstance(text, str) else ""
        for text in (message.get("message"), message.get("action"))
    )
    problem = Problem.of(str(message.get("code")), sentence, hint)
    buttons = {"picture": _OF_PICTURES, "trust_picture": _OF_PICTURES, "lift": _OF_RELIEFS}.get(op, {})
    problem = problem._replace(button=buttons.get(problem.code, problem.button))
    return problem


def after_exit(code: int, log: Sequence[str]) -> Problem:
    """The problem of an engine that ended by itself, by its exit code and the last line of its log."""
    last = next((line for line in reversed(log) if line.strip()), "")
    if code == -int(getattr(signal, "SIGKILL", 9)):
        return Problem.of(
            "E_CRASHED", "The engine was killed from outside; often that means memory ran out", last
        )
    if "invalid choice: 'serve'" in last:
        return Problem.of("E_VERSION", "This engine is too old for the add-on: it has no `serve`", last)
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    return Problem.of("E_CRASHED", f"The engine stopped unexpectedly ({how})", last)


def _labelled(text: str) -> str:
    """With the panels' words for the parameters that the engine names."""
    return re.sub(r"`([a-z_.]+)`", lambda named: _LABELS.get(named[1], named[1]), text)


def _one_line(text: str) -> str:
    """Without line breaks, and with files by their last name: the sidebar is narrow, diagnostics have the whole."""
    short = re.sub(r"(?<!\S)(?:/[^\s/]+)+/(?=[^\s/])", "…/", text)
    return re.sub(r"\s+", " ", short).strip().rstrip(".")[:_LONGEST]
