# ruff: noqa: RUF012 -- Blender reads class attributes in its own way
"""What buttons do to the engine: choose, start, stop, diagnose, and the remedy of each problem."""

import platform
from pathlib import Path

import bpy
from bpy.props import StringProperty

from ..class_search import choose
from ..engine_control import ensure_engine
from ..properties import preferences
from ..state import STATE
from .operators import Result, attempt

COMMAND = "make setup"  # typed in the project's folder it makes the engine; nothing is fetched by the add-on
_LOG_LINES = 60


class GP3D_OT_engine_start(bpy.types.Operator):
    """Start the engine, or start it anew"""

    bl_idname = "gp3d.engine_start"
    bl_label = "Start Engine"
    bl_options = {"INTERNAL"}

    def execute(self, context: bpy.types.Context) -> Result:
        """Ends the one that runs, if any."""
        STATE.session.stop()
        STATE.session.set_problem(None)
        return attempt(self, lambda: ensure_engine(context))


class GP3D_OT_engine_stop(bpy.types.Operator):
    """End the engine and free its memory; the next job starts it again"""

    bl_idname = "gp3d.engine_stop"
    bl_label = "Stop Engine"
    bl_options = {"INTERNAL"}

    def execute(self, context: bpy.types.Context) -> Result:
        """Does not wait for it."""
        STATE.session.stop()
        return {"FINISHED"}


class _Chooser:
    """An operator that asks for a file and puts it into the preferences."""

    bl_options = {"INTERNAL"}
    preference = ""

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> Result:
        """Opens the file browser."""
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: bpy.types.Context) -> Result:
        """Keeps the path, ends an engine that was started with another one, and forgets the old problem."""
        setattr(preferences(context), self.preference, self.filepath)
        STATE.session.stop()
        STATE.session.set_problem(None)
        return {"FINISHED"}


class GP3D_OT_choose_engine(_Chooser, bpy.types.Operator):
    """Choose the gp3d program, or the project folder whose .venv holds it"""

    bl_idname = "gp3d.choose_engine"
    bl_label = "Choose Engine"
    preference = "engine_path"

    filepath: StringProperty(subtype="FILE_PATH")


class GP3D_OT_choose_snapshot(_Chooser, bpy.types.Operator):
    """Choose a model: a snapshot file or a run folder"""

    bl_idname = "gp3d.choose_snapshot"
    bl_label = "Choose Model"
    preference = "snapshot"

    filepath: StringProperty(subtype="FILE_PATH")
    filter_glob: StringProperty(default="*.safetensors", options={"HIDDEN"})


class GP3D_OT_choose_vq3d(_Chooser, bpy.types.Operator):
    """Choose the image model of Image to 3D: a VQ3D snapshot, or the folder of its run"""

    bl_idname = "gp3d.choose_vq3d"
    bl_label = "Choose Image Model"
    preference = "vq3d"

    filepath: StringProperty(subtype="FILE_PATH")
    filter_glob: StringProperty(default="*.safetensors", options={"HIDDEN"})

    def execute(self, context: bpy.types.Context) -> Result:
        """Keeps the path and forgets the old problem; the engine may stay, it reads the model with the next picture."""
        preferences(context).vq3d = self.filepath
        STATE.session.set_problem(None)
        return {"FINISHED"}


class GP3D_OT_choose_depth_model(_Chooser, bpy.types.Operator):
    """Choose a depth model for Relief from Depth: the weights of TCMonoDepth small, or a folder of transformers"""

    bl_idname = "gp3d.choose_depth_model"
    bl_label = "Choose Depth Model"

    filepath: StringProperty(subtype="FILE_PATH")

    def execute(self, context: bpy.types.Context) -> Result:
        """Keeps the path and forgets the old problem; the engine reads the model with the next picture."""
        preferences(context).depth_model = self.filepath
        STATE.session.set_problem(None)
        return {"FINISHED"}


class GP3D_OT_copy(bpy.types.Operator):
    """Copy to the clipboard"""

    bl_idname = "gp3d.copy"
    bl_label = "Copy"
    bl_options = {"INTERNAL"}

    what: StringProperty(default="DIAGNOSTICS")

    def execute(self, context: bpy.types.Context) -> Result:
        """Copies the command that makes an engine, or what helps to find a fault."""
        context.window_manager.clipboard = COMMAND if self.what == "COMMAND" else diagnostics(context)
        self.report({"INFO"}, "Copied")
        return {"FINISHED"}


class GP3D_OT_show_log(bpy.types.Operator):
    """Open the engine's log as a text"""

    bl_idname = "gp3d.show_log"
    bl_label = "Show Log"
    bl_options = {"INTERNAL"}

    def execute(self, context: bpy.types.Context) -> Result:
        """Writes the text; the text editor shows it."""
        name = "GP3D log"
        text = bpy.data.texts.get(name) or bpy.data.texts.new(name)
        text.clear()
        text.write(diagnostics(context))
        self.report({"INFO"}, f"The text '{name}' in the text editor holds the log")
        return {"FINISHED"}


class GP3D_OT_remedy(bpy.types.Operator):
    """Do what helps against the problem"""

    bl_idname = "gp3d.remedy"
    bl_label = "Help"
    bl_options = {"INTERNAL"}

    what: StringProperty()

    def execute(self, context: bpy.types.Context) -> Result:
        """Changes one choice, or starts the engine anew, and forgets the problem."""
        settings, session = context.scene.gp3d, STATE.session
        if self.what == "OTHER_SEED":
            settings.seed += 1
        elif self.what == "LOWER_QUALITY":
            settings.quality = "STANDARD" if settings.quality == "HIGH" else "DRAFT"
        elif self.what == "CLEAR_CLASS":
            known = STATE.known_classes(preferences(context).snapshot) or STATE.classes
            nearest = choose(settings.class_name, known).instead
            settings.class_name = next((entry.name for entry in (*nearest, *known)), "")
        elif self.what == "USE_CPU":
            preferences(context).device = "cpu"
        session.set_problem(None)
        if self.what in ("USE_CPU", "RESTART"):
            return attempt(self, lambda: _restart(context))
        return {"FINISHED"}


def _restart(context: bpy.types.Context) -> None:
    STATE.session.stop()
    ensure_engine(context)


def diagnostics(context: bpy.types.Context) -> str:
    """What a person who helps needs to know; the home folder is shortened."""
    session, chosen = STATE.session, preferences(context)
    problem, status = session.status.problem, session.status
    log = list(session.engine.log) if session.engine else session.log
    lines = [
        f"Blender {bpy.app.version_string}, {platform.platform()}, Python {platform.python_version()}",
        f"engine command: {' '.join(STATE.command or ['none found'])}  {STATE.complaint}",
        f"engine {status.version or '-'}: {status.state}",
        f"device {chosen.device}, model {chosen.snapshot or '(default)'}",
        f"ready: {status.ready or STATE.last_ready}",
        f"problem: {problem.code}: {problem.sentence} {problem.hint}" if problem else "problem: none",
        "log:",
        *log[-_LOG_LINES:],
    ]
    return "\n".join(lines).replace(str(Path.home()), "~") + "\n"


CLASSES = (
    GP3D_OT_engine_start,
    GP3D_OT_engine_stop,
    GP3D_OT_choose_engine,
    GP3D_OT_choose_snapshot,
    GP3D_OT_choose_vq3d,
    GP3D_OT_choose_depth_model,
    GP3D_OT_copy,
    GP3D_OT_show_log,
    GP3D_OT_remedy,
)
