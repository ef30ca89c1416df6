"""What a person can choose: per scene (saved with the file) and per machine (the add-on's preferences)."""

import json
import os
from dataclasses import fields
from typing import Any

import bpy
from bpy.props import BoolProperty, EnumProperty, FloatProperty, IntProperty, PointerProperty, StringProperty

from .class_search import ImageNetClass, find, label, search
from .pictures.choices import BLEND_RELATIVE, PictureSettings
from .requests import GRIDS, Choices
from .state import STATE

MOST_RECENT = 8
MACHINE = (
    "engine_path",
    "snapshot",
    "vq3d",
    "depth_model",
    "device",
    "report_cards",
    "cache_mb",
)  # preferences that are shown


def preferences(context: bpy.types.Context) -> "GP3DPreferences":
    """The add-on's preferences."""
    return context.preferences.addons[__package__].preferences


def _engine_changed(self: "GP3DPreferences", context: bpy.types.Context) -> None:
    if self.engine_path.startswith("//") and bpy.data.filepath:  # of this machine, not of this .blend
        self.engine_path = os.path.normpath(bpy.path.abspath(self.engine_path))  # which comes back here
        return
    STATE.look_for_engine(self.engine_path)


class GP3DPreferences(bpy.types.AddonPreferences):
    """Where engine and model are, and what the add-on remembers about this machine."""

    bl_idname = __package__

    engine_path: StringProperty(
        name="Engine",
        description="The gp3d program, or the project folder whose .venv holds it. Empty: gp3d on PATH",
        subtype="FILE_PATH",
        update=_engine_changed,
    )
    snapshot: StringProperty(
        name="Model",
        description="A snapshot (.safetensors), a run folder, of which the newest snapshot is taken, or the name of a "
        "model that the engine brings, such as box or zoo. Empty: of those the one that has the class",
        subtype="FILE_PATH",
    )
    vq3d: StringProperty(
        name="Image Model",
        description="For Image to 3D: a VQ3D snapshot (.safetensors) or the folder of its run. "
        "Empty: the one that the engine brings, if it brings one",
        subtype="FILE_PATH",
    )
    depth_model: StringProperty(
        name="Depth Model",
        description="For Relief from Depth without a depth map: weights of TCMonoDepth small, or the folder of a depth "
        "model of transformers",
        subtype="FILE_PATH",
    )
    report_cards: StringProperty(
        name="Report Cards",
        description="The folder that gp3d evaluate with --report has written: the badge of a class then opens its page",
        subtype="DIR_PATH",
    )
    device: EnumProperty(
        name="Device",
        description="Where the engine computes",
        items=(
            ("auto", "Automatic", "The graphics card if the engine can use it"),
            ("cpu", "CPU", "The processor, works everywhere"),
            ("cuda", "CUDA", "An NVIDIA card"),
        ),
    )
    cache_mb: IntProperty(
        name="Cache (MB)",
        description="Megabytes that the engine may use to make meshing a previewed seed quick",
        default=256,
        min=0,
        max=65536,
    )
    recent: StringProperty(name="Recent classes", default="[]", options={"HIDDEN"})
    timings: StringProperty(name="Measured seconds", default="{}", options={"HIDDEN"})

    def draw(self, context: bpy.types.Context) -> None:
        """Shows the choices; the sidebar's Engine panel shows the same."""
        column = self.layout.column()
        for name in MACHINE:
            column.prop(self, name)

    def recents(self) -> list[str]:
        """WordNet ids or names of the classes made last, newest first."""
        return _json(self.recent, list)

    def remember_class(self, query: str) -> None:
        """Puts a class at the head of the recent ones."""
        self.recent = json.dumps([query, *(old for old in self.recents() if old != query)][:MOST_RECENT])

    def measured(self) -> dict[str, float]:
        """Seconds that meshes took here, by model, device, grid and colour."""
        return _json(self.timings, dict)

    def remember_seconds(self, key: str, seconds: float) -> None:
        """Keeps how long a mesh took, half new and half old so that one odd run does little harm."""
        known = self.measured()
        known[key] = round((known.get(key, seconds) + seconds) / 2, 2)
        self.timings = json.dumps(dict(list(known.items())[-60:]))


def _json(text: str, kind: type) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    return value if isinstance(value, kind) else kind()


def suggest_classes(self: Any, context: bpy.types.Context, text: str) -> list[tuple[str, str]]:
    """Names that the class field offers while one types, with their badges and synonyms."""
    matches = search(text, STATE.classes, preferences(context).recents())
    shown = [match.text if match.synonym else label(match.entry, STATE.classes) for match in matches]
    return [(text, described(match.entry)) for text, match in zip(shown, matches, strict=True)]


def described(entry: ImageNetClass) -> str:
    """The text beside a class: how good the model is at it, and two synonyms."""
    return " · ".join(filter(None, (entry.badge, ", ".join(entry.names[1:3]))))


def _class_changed(self: "GP3DSettings", context: bpy.types.Context) -> None:
    entry = find(self.class_name, STATE.classes)
    name = "" if entry is None else label(entry, STATE.classes)
    if name and self.class_name != name and "(" in self.class_name:
        self.class_name = name


class GP3DSettings(PictureSettings, bpy.types.PropertyGroup):
    """The choices of a scene; requests.Choices are their values."""

    class_name: StringProperty(
        name="Class",
        description="An ImageNet class: type a name or a synonym, recent ones come first",
        default="coffee mug",
        search=suggest_classes,
        search_options={"SUGGESTION"},
        update=_class_changed,
    )
    seed: IntProperty(name="Seed", description="The same seed gives the same object", default=1, min=0)
    seed_locked: BoolProperty(
        name="Keep Seed", description="Generate and Preview keep the seed instead of taking new ones"
    )
    truncation: FloatProperty(
        name="Variety",
        description="0 gives the most typical object of the class, 1 everything the model can do, more exaggerates",
        default=0.7,
        min=0.0,
        soft_max=1.0,
        max=2.0,
        subtype="FACTOR",
        precision=2,
    )
    quality: EnumProperty(
        name="Quality",
        description="Fineness of the grid that the surface is taken from",
        items=tuple((name, name.capitalize(), f"A grid of {grid}³ points") for name, grid in GRIDS.items()),
        default="STANDARD",
    )
    previews: IntProperty(name="Previews", description="How many seeds to look at", default=4, min=1, max=16)

    faces: IntProperty(
        name="Max Faces",
        description="Triangles to stay below; 0 keeps all",
        default=30000,
        min=0,
        max=10**8,
        soft_max=300000,
    )
    quads: IntProperty(
        name="Quads",
        description="About so many quads instead of triangles, checked against them; 0 for triangles",
        default=0,
        min=0,
        max=200_000,
    )
    lods: IntProperty(
        name="LODs",
        description="Levels of detail, the mesh itself among them: each has a quarter of the faces of the one before",
        default=1,
        min=1,
        max=8,
    )
    collision: IntProperty(
        name="Collision Parts",
        description="Most convex parts of a collision hull (UCX_…), which renders do not show; 0 for none",
        default=0,
        min=0,
        max=64,
    )
    crop: FloatProperty(
        name="Keep Middle",
        description="Share of the bounding box that is kept; less cuts away background that the model learnt along",
        default=1.0,
        min=0.1,
        max=1.0,
        subtype="FACTOR",
    )
    depth_cut: FloatProperty(
        name="Depth Cut",
        description="Cuts away what lies farther from the camera of training: 1 nothing, 0 all behind the middle",
        default=1.0,
        min=-1.0,
        max=1.0,
    )
    keep_largest: BoolProperty(
        name="One Piece",
        description="Keep only the largest piece of an object. Otherwise, and of a picture, all but specks stay",
    )
    smooth: BoolProperty(name="Smooth", description="Interpolate normals over the faces", default=True)

    color: EnumProperty(
        name="Colour",
        description="How the mesh carries its colours",
        items=(
            ("texture", "Texture", "An image with texture coordinates"),
            ("vertex", "Vertices", "A colour attribute, quicker to make"),
        ),
    )
    texture_size: EnumProperty(
        name="Pixels",
        description="Pixels along an edge of the texture",
        items=(
            ("auto", "Automatic", "As many pixels as the model's colours fill"),
            *((str(size), str(size), f"{size} × {size} pixels") for size in (256, 512, 1024, 2048)),
        ),
        default="auto",
    )
    shader: EnumProperty(
        name="Shader",
        description="How the colours meet the light of the scene",
        items=(
            ("PRINCIPLED", "Lit", "Principled BSDF"),
            ("UNLIT", "Unlit", "The colours alone: for models that learnt from pictures, light and all"),
        ),
    )
    roughness: FloatProperty(
        name="Roughness", description="Of the material", default=0.9, min=0.0, max=1.0, subtype="FACTOR"
    )

    place_at: EnumProperty(
        name="At",
        description="Where new objects stand",
        items=(
            ("CURSOR", "3D Cursor", "At the 3D cursor"),
            ("ORIGIN", "Origin", "In the middle of the world"),
        ),
    )
    size: FloatProperty(
        name="Size",
        description="Longest side of new objects",
        default=1.0,
        min=0.001,
        soft_max=10.0,
        unit="LENGTH",
    )
    real_size: BoolProperty(
        name="Real Size", description="As large as things of the class are in the world, in metres"
    )
    on_ground: BoolProperty(
        name="On Ground", description="The origin is under the object instead of inside", default=True
    )
    front: EnumProperty(
        name="Front",
        description="Which way the front looks",
        items=(
            (
                "VIEW",
                "To the View",
                "Towards who looks, as in the previews, by quarter turns; −Y for scripts",
            ),
            ("NEG_Y", "−Y", "Towards Blender's front view"),
            ("POS_X", "+X", "To the right"),
            ("POS_Y", "+Y", "Away"),
            ("NEG_X", "−X", "To the left"),
        ),
    )
    collection: BoolProperty(name="Collect", description="Put new objects into the collection GP3D")

    batch_classes: StringProperty(
        name="Classes", description="Names separated by commas; empty: the class above"
    )
    batch_seeds: StringProperty(name="Seeds", description="Numbers and ranges, e.g. 0-3, 9", default="0-3")
    arrange: EnumProperty(
        name="Arrange",
        description="Where several objects stand",
        items=(
            ("ROW", "Row", "Side by side"),
            ("GRID", "Grid", "In rows"),
            ("STACK", "One Place", "All in one place"),
        ),
        default="GRID",
    )

    as_asset: BoolProperty(name="Mark as Asset", description="With catalogue, tags and a picture")
    tags: StringProperty(name="Tags", description="More tags, separated by commas")
    library: StringProperty(
        name="Folder",
        description="Asset library in which Save to Library writes .blend files",
        subtype="DIR_PATH",
        options=BLEND_RELATIVE,
    )


class GP3DProgress(bpy.types.PropertyGroup):
    """What Blender before 4.0 needs to draw a bar."""

    percent: FloatProperty(
        name="Progress",
        subtype="PERCENTAGE",
        min=0.0,
        max=100.0,
        precision=0,
        get=lambda self: 100.0 * STATE.session.status.overall,
    )


CLASSES = (GP3DPreferences, GP3DSettings, GP3DProgress)


def attach() -> None:
    """Gives scenes and the window manager their properties."""
    bpy.types.Scene.gp3d = PointerProperty(type=GP3DSettings)
    bpy.types.WindowManager.gp3d = PointerProperty(type=GP3DProgress)


def detach() -> None:
    """Takes them away."""
    del bpy.types.WindowManager.gp3d
    del bpy.types.Scene.gp3d


def choices_of(settings: GP3DSettings) -> Choices:
    """The choices of a scene."""
    return Choices(**{choice.name: getattr(settings, choice.name) for choice in fields(Choices)})
