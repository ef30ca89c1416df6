"""Scenarios in Blender: what the panels draw, recorded by a layout that knows names, icons and properties.

Run by blender_child.py, never imported by pytest.
"""

from __future__ import annotations

import json
import time
from types import SimpleNamespace

import bpy

SECONDS: list[tuple[float, str]] = []  # how long each panel took to draw, and which it was
ICONS = {
    item.identifier for item in bpy.types.UILayout.bl_rna.functions["prop"].parameters["icon"].enum_items
}


class Layout:
    """Takes what a UILayout takes, refuses what that would refuse, and writes down everything."""

    enabled = True

    def __init__(self, record: list, parent: Layout | None = None) -> None:
        self.record, self.parent = record, parent

    @property
    def usable(self) -> bool:
        """Whether neither this nor what it lies in is greyed."""
        return self.enabled and (self.parent is None or self.parent.usable)

    def label(self, *, text="", icon="NONE", icon_value=0):
        assert icon in ICONS, icon
        self.record.append(("label", text))

    def prop(self, data, name, *, text=None, icon="NONE", slider=False, expand=False, **more):
        assert name in data.bl_rna.properties, (data, name)
        assert icon in ICONS, icon
        getattr(data, name)
        assert data.bl_rna.properties[name].description or name == "percent", f"{name} explains nothing"
        self.record.append(("prop", name))

    def operator(self, idname, *, text=None, icon="NONE", depress=False, emboss=True):
        assert icon in ICONS, icon
        group, name = idname.split(".")
        kind = getattr(bpy.types, f"{group.upper()}_OT_{name}")
        assert getattr(bpy.ops.gp3d, name).get_rna_type().description, idname
        self.record.append(("operator", idname, text))
        if not self.usable:
            self.record.append(("greyed", idname))
        names = set(getattr(kind, "__annotations__", {}))

        class Properties:
            def __setattr__(self, key, value):
                assert key in names, (idname, key)

        return Properties()

    def template_icon(self, *, icon_value, scale):
        assert isinstance(icon_value, int)
        self.record.append(("icon", icon_value))

    def progress(self, *, factor, text, type):
        assert 0 <= factor <= 1
        assert type in ("BAR", "RING")
        self.record.append(("progress", text))

    def separator(self, **more):
        pass

    def _child(self, **options):
        return Layout(self.record, self)

    row = column = box = grid_flow = _child


def draw(tools) -> list:
    """What all panels draw now; how long each took is in SECONDS."""
    record: list = []
    for kind in tools.part("ui.panels").CLASSES:
        panel = SimpleNamespace(layout=Layout(record), names=kind.__dict__.get("names", ()))
        began = time.process_time()
        kind.draw(fake_self(kind, panel), bpy.context)
        SECONDS.append((time.process_time() - began, kind.__name__))
    return record


def fake_self(kind, panel):
    """An object with the class's own attributes, for `super().draw`."""
    if any(base.__name__ == "SubPanel" for base in kind.__mro__):
        stand_in = object.__new__(
            type(kind.__name__, (next(b for b in kind.__mro__ if b.__name__ == "SubPanel"),), {})
        )
        stand_in.names, stand_in.layout = panel.names, panel.layout
        return stand_in
    return SimpleNamespace(layout=panel.layout)


def texts(record: list) -> str:
    """Everything that is written."""
    return "\n".join(str(entry[-1]) for entry in record)


def scenario_without_engine_there_is_a_card_with_samples(tools):
    tools.use("")
    tools.state().look_for_engine("")
    record = draw(tools)
    assert ("operator", "gp3d.choose_engine", "Choose the Folder…") in record
    assert "make setup" in texts(record)
    assert sum(entry[:2] == ("operator", "gp3d.sample") for entry in record) == 3
    assert not [entry for entry in record if entry[:2] == ("operator", "gp3d.generate")]


def scenario_every_choice_is_shown_once(tools):
    choices, shown = bpy.context.scene.gp3d, set()
    for choices.method, choices.depth in (("SCENE", ""), ("RELIEF", "depth.npy")):
        record = draw(tools)
        names = [entry[1] for entry in record if entry[0] == "prop"]
        assert len(names) == len(set(names))
        shown |= set(names)
    settings = {p.identifier for p in choices.bl_rna.properties} - {"rna_type", "name"}
    assert settings <= shown, settings - shown
    operators = {entry[1] for entry in record if entry[0] == "operator"}
    assert {"gp3d.generate", "gp3d.preview", "gp3d.dice", "gp3d.batch", "gp3d.save_to_library"} <= operators
    assert "Engine at rest" in texts(record)
    assert "ImageNet 504" in texts(record)


def scenario_running_job_shows_stage_per_cent_seconds_and_cancel(tools):
    with tools.window() as state:
        tools.use("slow")
        bpy.ops.gp3d.batch(batch_classes="teapot", batch_seeds="1-3")
        record = draw(tools)
        assert ("operator", "gp3d.cancel", None) in record
        assert "Engine starting" in texts(record)
        session = state.session
        assert tools.until(lambda: session.status.current is not None and session.status.current.done > 1)
        record = draw(tools)
        (bar,) = [entry for entry in record if entry[0] == "progress"]
        assert "Measuring density" in bar[1]
        assert "%" in bar[1]
        assert "1 of 3" in texts(record)
        assert "Busy · CPU · 2 kimg" in texts(record)
        assert ("operator", "gp3d.cancel", None) in record
        assert not [entry for entry in record if entry[:2] == ("operator", "gp3d.generate")]


def scenario_every_problem_has_a_button(tools):
    problems, state = tools.part("engine.errors"), tools.state()
    for code in [*problems.PROBLEMS, "E_SOMETHING_NEW"]:
        state.session.set_problem(problems.Problem.of(code, hint="from the engine"))
        record = draw(tools)
        idname, label, _ = tools.part("ui.main_panel").REMEDIES[state.session.status.problem.button]
        assert ("operator", idname, label) in record
        assert "from the engine" in texts(record)
        if idname == "gp3d.remedy" and state.session.status.problem.button not in ("RESTART", "USE_CPU"):
            assert bpy.ops.gp3d.remedy(what=state.session.status.problem.button) == {"FINISHED"}
            assert state.session.status.problem is None


def scenario_pictures_and_the_active_object_are_shown(tools):
    bpy.context.scene.gp3d.previews = 3
    bpy.ops.gp3d.preview()
    bpy.ops.gp3d.generate(class_name="coffee mug", seed=3)
    tools.state().pictures[0].chosen = tools.state().pictures[2].chosen = True
    record = draw(tools)
    assert sum(entry[0] == "icon" for entry in record) == 3
    assert ("operator", "gp3d.generate", "Generate 2 Meshes") in record
    assert ("operator", "gp3d.regenerate", "Regenerate Higher") in record
    assert "coffee mug · seed 3" in texts(record)
    assert "14 faces" in texts(record)


def scenario_a_photograph_becomes_an_object(tools):
    photograph, _ = picture_files(tools)
    bpy.context.scene.gp3d.picture = str(photograph)
    assert bpy.ops.gp3d.picture() == {"FINISHED"}
    obj = bpy.context.active_object
    assert obj.name == "gp3d_owl_picture"
    told = {name: value for name, value in obj.items() if name.startswith("gp3d_")}
    model = {"gp3d_model": "tok.safetensors", "gp3d_model_sha256": "abcdef012345"}
    assert told == {"gp3d_picture": "owl.png", **model}
    assert json.loads(obj["gp3d"])["model"]["name"] == "tok.safetensors"
    assert "owl.png" in texts(draw(tools)).splitlines()
    faces = len(obj.data.polygons)
    assert bpy.ops.gp3d.regenerate(higher=True) == {"FINISHED"}
    assert len(bpy.data.objects) == 1
    assert len(bpy.context.active_object.data.polygons) == faces
    bpy.context.scene.gp3d.picture = ""
    assert bpy.ops.gp3d.use_recipe() == {"FINISHED"}
    assert bpy.context.scene.gp3d.picture == str(photograph)
    tools.preferences().vq3d = ""


def scenario_without_a_picture_it_is_said_what_to_choose(tools):
    choose = ("operator", "gp3d.choose_vq3d", "Choose Image Model…")
    record = draw(tools)
    assert choose in record
    assert ("operator", "gp3d.picture", None) in record
    said = texts(record).replace("\n", " ")
    assert "With the engine's own small image model" in said
    assert "docs/vq3d.md" in said
    _, model = picture_files(tools)
    assert choose not in draw(tools)
    for picture, words in (
        ("", "Choose a picture first"),
        ("//owl.png", "save the .blend first"),
        (str(tools.folder / "none.png"), "no picture at"),
    ):
        said = tools.refusal(RuntimeError, lambda picture=picture: bpy.ops.gp3d.picture(picture=picture))
        assert words in said
    assert bpy.ops.gp3d.choose_vq3d(filepath=str(model)) == {"FINISHED"}
    assert tools.preferences().vq3d == str(model)
    tools.preferences().vq3d = ""


def scenario_changed_picture_is_not_made_again(tools):
    photograph, model = picture_files(tools)
    bpy.ops.gp3d.picture(picture=str(photograph))
    for file, words in ((photograph, "picture at"), (model, "image model at")):
        before = file.read_bytes()
        file.write_bytes(b"another")
        said = tools.refusal(RuntimeError, bpy.ops.gp3d.regenerate)
        assert words in said
        assert "has changed since" in said
        file.unlink()
        assert "is no longer at" in tools.refusal(RuntimeError, bpy.ops.gp3d.regenerate)
        file.write_bytes(before)
    assert bpy.ops.gp3d.regenerate() == {"FINISHED"}
    tools.preferences().vq3d = ""


def scenario_pictures_are_asked_for_without_their_backdrop(tools):
    photograph, _ = picture_files(tools)
    wanted = []
    for choices in ({}, {"backdrop": True}):
        bpy.ops.gp3d.picture(picture=str(photograph), **choices)
        request = json.loads(bpy.context.active_object["gp3d"])["request"]
        wanted.append((request["crop_depth"], request["keep"]))
    assert wanted == [("auto", "auto"), (None, "auto")]
    bpy.context.scene.gp3d.depth_cut = 0.5
    bpy.ops.gp3d.picture(picture=str(photograph))
    assert json.loads(bpy.context.active_object["gp3d"])["request"]["crop_depth"] == 0.5
    bpy.context.scene.gp3d.depth_cut = 1.0
    tools.preferences().vq3d = ""


def scenario_photograph_is_an_asset_without_seed(tools):
    photograph, _ = picture_files(tools)
    bpy.context.scene.gp3d.as_asset = True
    assert bpy.ops.gp3d.picture(picture=str(photograph)) == {"FINISHED"}
    data = bpy.context.active_object.asset_data
    assert data.description == "the picture owl.png, made by GP3D"
    assert {tag.name for tag in data.tags} == {"picture", "owl"}
    tools.preferences().vq3d = ""


def picture_files(tools):
    """A picture and an image model that only a fake engine takes for such; the model is chosen."""
    photograph, model = tools.folder / "owl.png", tools.folder / "tok.safetensors"
    photograph.write_bytes(b"the engine looks at it")
    model.write_bytes(b"and at this")
    tools.preferences().vq3d = str(model)
    return photograph, model


def scenario_unknown_class_is_said(tools):
    bpy.ops.gp3d.generate(class_name="coffee mug", seed=3)
    bpy.context.scene.gp3d.class_name = "zebra"
    record = draw(tools)
    assert "Not among the model's 3 classes" in texts(record)
    assert not [entry for entry in record if entry[:2] == ("operator", "gp3d.take_class")]  # no animal there


def scenario_a_class_says_whose_it_is_and_who_must_be_credited(tools):
    tools.use("several")
    settings = bpy.context.scene.gp3d
    assert bpy.ops.gp3d.generate(class_name="coffee mug", seed=3) == {"FINISHED"}
    settings.class_name = "coffee mug"
    assert "Wildfire" not in texts(draw(tools)).replace("\n", " ")
    assert "pretrained models" in texts(draw(tools))
    settings.class_name = "horse"
    record = draw(tools)
    assert ("label", "Model zoo · CC-BY-SA-4.0") in record
    assert "Learnt from models by Wildfire Games (CC-BY-SA-3.0)." in texts(record).replace("\n", " ")
    offered = dict(tools.part("properties").suggest_classes(None, bpy.context, "horse"))
    assert offered["horse"].startswith("fair")
    assert bpy.ops.gp3d.generate(seed=4, as_asset=True) == {"FINISHED"}
    obj = bpy.context.active_object
    recipe = json.loads(obj["gp3d"])
    assert recipe["model"]["name"] == "zoo"
    assert "model" not in recipe["request"]
    assert "Wildfire Games" in obj.asset_data.description
    assert getattr(obj.asset_data, "license", "CC-BY-SA-4.0") == "CC-BY-SA-4.0"
    settings.class_name = "coffee mug"
    assert ("label", "Licence: CC-BY-SA-4.0") in draw(tools)  # of the object that is active


def scenario_nearest_known_class_is_one_click_away(tools):
    settings = bpy.context.scene.gp3d
    bpy.ops.gp3d.generate(class_name="coffee mug", seed=3)
    settings.class_name = "beer glass"
    assert "the model does not know" in tools.refusal(RuntimeError, bpy.ops.gp3d.generate).replace(
        "this", "the"
    )
    record = draw(tools)
    offered = [entry[2] for entry in record if entry[:2] == ("operator", "gp3d.take_class")]
    assert sorted(offered) == ["coffee mug", "teapot"]
    assert "Nearest that it knows; press one:" in texts(record)
    assert bpy.ops.gp3d.take_class(class_name="coffee mug") == {"FINISHED"}
    assert settings.class_name == "coffee mug"
    assert bpy.ops.gp3d.generate(seed=4) == {"FINISHED"}


def scenario_class_that_the_pretrained_model_lacks_is_said_before_the_engine_starts(tools):
    tools.state().session.status = tools.part("engine.protocol").Conversation()
    tools.preferences().snapshot = ""
    bpy.context.scene.gp3d.class_name = "jellyfish"
    record = draw(tools)
    known = tools.part("class_search").pretrained_classes()
    assert f"Not among the model's {len(known)} classes" in texts(record)
    offered = [entry[2] for entry in record if entry[:2] == ("operator", "gp3d.take_class")]
    assert offered
    tools.preferences().snapshot = known[0].model  # the name of one that comes along
    assert "Not among the model's" in texts(draw(tools))
    tools.preferences().snapshot = str(tools.folder / "model")  # of which nothing is known
    assert "Not among" not in texts(draw(tools))
    tools.preferences().snapshot = ""


def scenario_nothing_is_made_again_without_an_engine(tools):
    tools.use("")
    tools.state().look_for_engine("")
    bpy.ops.gp3d.sample(name="coffee_mug")
    record = draw(tools)
    assert ("operator", "gp3d.regenerate", "Regenerate") in record
    assert ("greyed", "gp3d.regenerate") in record
    assert "coffee mug · sample" in texts(record)
    tools.use("good")
    bpy.ops.gp3d.generate(class_name="coffee mug", seed=3)
    assert ("greyed", "gp3d.regenerate") not in draw(tools)


def scenario_time_that_nobody_measured_is_said_in_plain_words(tools):
    tools.preferences().timings = "{}"
    said = texts(draw(tools))
    assert "Time unknown before the first mesh" in said
    bpy.ops.gp3d.generate(class_name="coffee mug", seed=3)
    tools.state().notice = ""
    assert "Time unknown" not in texts(draw(tools))


def scenario_word_that_fits_one_class_is_taken_and_said(tools):
    bpy.ops.gp3d.generate(class_name="coffee mug", seed=3)
    bpy.context.scene.gp3d.class_name = "mug"
    assert "mug → coffee mug" in texts(draw(tools))
    assert bpy.ops.gp3d.generate(seed=4) == {"FINISHED"}
    assert "coffee mug" in bpy.context.active_object.name.replace("_", " ")


def scenario_synonym_that_is_picked_becomes_the_class(tools):
    settings = bpy.context.scene.gp3d
    found = tools.part("properties").suggest_classes(settings, bpy.context, "aeroplane") or tools.part(
        "properties"
    ).suggest_classes(settings, bpy.context, "tabby cat")
    assert "(" in found[0][0]
    settings.class_name = found[0][0]
    assert settings.class_name == "tabby"


def scenario_menu_offers_the_class(tools):
    record: list = []
    tools.part("ui.panels").draw_menu(SimpleNamespace(layout=Layout(record)), bpy.context)
    assert ("operator", "gp3d.generate", "GP3D coffee mug") in record


def scenario_diagnostics_hide_the_home_folder(tools):
    from pathlib import Path

    tools.preferences().snapshot = str(Path.home() / "models/one.safetensors")
    text = tools.part("ui.engine_operators").diagnostics(bpy.context)
    assert "~/models/one.safetensors" in text
    assert str(Path.home()) not in text.replace("~", "")
    assert bpy.ops.gp3d.show_log() == {"FINISHED"}
    assert f"Blender {bpy.app.version_string}," in bpy.data.texts["GP3D log"].as_string()
    tools.preferences().snapshot = ""


def scenario_timing_drawing_is_quick(tools):
    """Of all panels that the scenarios above have drawn."""
    draw(tools)
    assert max(SECONDS)[0] < 0.05, max(SECONDS)
