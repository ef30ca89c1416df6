"""Scenarios in Blender: Show Trust and report cards, with a fake engine. Run by blender_child.py, never imported."""

from __future__ import annotations

import json

import bpy
import numpy as np

SEEN, UNSEEN = (0, 158, 115), (213, 94, 0)  # sRGB


def mug(tools, mode="good", **options):
    tools.use(mode)
    assert bpy.ops.gp3d.generate(class_name="coffee mug", seed=1, **options) == {"FINISHED"}
    return bpy.context.active_object


def colors(obj, name) -> np.ndarray:
    """sRGB bytes of a colour attribute at the vertices."""
    values = np.empty(4 * len(obj.data.vertices), np.float32)
    obj.data.color_attributes[name].data.foreach_get("color_srgb", values)
    return np.rint(values.reshape(-1, 4)[:, :3] * 255).astype(int)


def values(obj, name) -> np.ndarray:
    found = np.empty(len(obj.data.vertices), np.float32)
    obj.data.attributes[name].data.foreach_get("value", found)
    return found


def heights(obj) -> np.ndarray:
    return np.array([vertex.co.z for vertex in obj.data.vertices])


def panel(tools, obj) -> list:
    """What the panel draws of trust."""
    drawn = []

    class Layout:
        enabled, scale_y = True, 1.0

        def label(self, *, text="", icon="NONE"):
            drawn.append(text)

        def operator(self, idname, *, text=None, icon="NONE", depress=False):
            drawn.append((idname, text, depress))
            return type("Properties", (), {})()

        def row(self, **_):
            return Layout()

        column = row

    tools.part("ui.trust_panel").draw_trust(Layout(), bpy.context, obj)
    return drawn


def scenario_an_object_gets_layers_and_numbers(tools):
    obj = mug(tools, size=3.0)
    before = len(obj.data.materials), tuple(obj.location)
    assert bpy.ops.gp3d.show_trust() == {"FINISHED"}
    assert {"GP3D Supervision", "GP3D Disagreement"} <= set(obj.data.color_attributes.keys())
    middle = (heights(obj).min() + heights(obj).max()) / 2
    above = heights(obj) > middle + 1e-4
    assert above.any()
    found = colors(obj, "GP3D Supervision")
    assert (found[above] == SEEN).all()
    assert (found[~above] == UNSEEN).all()
    np.testing.assert_array_equal(values(obj, "gp3d_supervision"), above.astype(np.float32))
    away = values(obj, "gp3d_disagreement")
    right = np.array([vertex.co.x for vertex in obj.data.vertices]) > 1e-4
    np.testing.assert_allclose(away, np.where(right, -1, 0.02), atol=1e-6)  # −1: not known
    assert obj.data.color_attributes.active_color.name == "GP3D Supervision"
    assert (obj["gp3d_trust_never_seen"], obj["gp3d_trust_disagreement"]) == (0.25, 0.0123)
    assert "gp3d_trust_thin_parts_kept" not in obj  # not known
    assert (len(obj.data.materials), tuple(obj.location)) == before
    assert tools.state().notice == f"Examined {obj.name}."
    assert json.loads(obj["gp3d"])["request"]["seed"] == 1  # the recipe is what it was


def scenario_examining_again_leaves_one_of_everything(tools):
    obj = mug(tools)
    for _ in range(2):
        assert bpy.ops.gp3d.show_trust() == {"FINISHED"}
    assert sum(name.startswith("GP3D ") for name in obj.data.color_attributes.keys()) == 2  # noqa: SIM118
    assert sum(name.startswith("gp3d_") for name in obj.data.attributes.keys()) == 2  # noqa: SIM118


def scenario_an_edited_mesh_is_told(tools):
    obj = mug(tools)
    for vertex in obj.data.vertices:
        if vertex.co.z > 0.5:
            vertex.co.z += 0.5
    assert bpy.ops.gp3d.show_trust() == {"FINISHED"}
    assert "of its vertices were moved since it was made" in tools.state().notice


def scenario_layers_are_chosen_and_put_away(tools):
    obj = mug(tools, color="vertex")
    assert bpy.ops.gp3d.trust_layer.poll() is False
    assert bpy.ops.gp3d.show_trust() == {"FINISHED"}
    attributes = obj.data.color_attributes
    for layer, name in (
        ("DISAGREEMENT", "GP3D Disagreement"),
        ("NONE", "Color"),
        ("SUPERVISION", "GP3D Supervision"),
    ):
        assert bpy.ops.gp3d.trust_layer(layer=layer) == {"FINISHED"}
        assert attributes.active_color.name == name
    assert bpy.ops.gp3d.regenerate() == {"FINISHED"}  # another mesh, of which nothing is known
    assert not [key for key in obj.keys() if key.startswith("gp3d_trust_")]  # noqa: SIM118
    assert bpy.ops.gp3d.trust_layer.poll() is False


def scenario_the_panel_shows_the_numbers(tools):
    obj = mug(tools)
    assert panel(tools, obj) == [("gp3d.show_trust", "Show Trust", False)]
    assert bpy.ops.gp3d.show_trust() == {"FINISHED"}
    drawn = panel(tools, obj)
    assert drawn[:4] == [
        ("gp3d.show_trust", "Examine Again", False),
        ("gp3d.trust_layer", "Seen", True),
        ("gp3d.trust_layer", "Agree", False),
        ("gp3d.trust_layer", "Colours", False),
    ]
    assert {"Never seen: 25 %", "Mesh to field: 1.23 %", "Not closed"} <= set(drawn)


def scenario_a_picture_shows_what_was_made_up(tools):
    photograph = tools.folder / "owl.png"
    photograph.write_bytes(b"this is owl.png")
    tools.preferences().vq3d = str(photograph)
    tools.use("good")
    assert bpy.ops.gp3d.picture(picture=str(photograph), method="SCENE") == {"FINISHED"}
    obj = bpy.context.active_object
    assert bpy.ops.gp3d.show_trust() == {"FINISHED"}
    assert "GP3D Disagreement" not in obj.data.color_attributes
    assert "Made up: 25 %" in panel(tools, obj)
    photograph.write_bytes(b"another")
    assert "has changed since" in tools.refusal(RuntimeError, bpy.ops.gp3d.show_trust)
    tools.preferences().vq3d = ""


def scenario_a_relief_needs_no_engine(tools):
    tools.use("good")
    photograph, depth = tools.folder / "owl.png", tools.folder / "depth.npy"
    for file in (photograph, depth):
        file.write_bytes(b"taken by a fake engine")
    assert bpy.ops.gp3d.picture(picture=str(photograph), depth=str(depth), method="RELIEF") == {"FINISHED"}
    obj = bpy.context.active_object
    tools.state().session.stop()
    assert bpy.ops.gp3d.show_trust() == {"FINISHED"}
    assert tools.state().session.engine is None
    np.testing.assert_array_equal(values(obj, "gp3d_supervision"), [1, 1, 1, 1, 0, 0, 0, 0])
    assert (colors(obj, "GP3D Supervision")[4:] == UNSEEN).all()
    assert abs(obj["gp3d_trust_never_seen"] - 0.8) < 1e-6  # 16 of 20: what is behind is twice as wide


def scenario_what_cannot_be_examined_is_refused_in_one_line(tools):
    tools.use("good")
    assert bpy.ops.gp3d.sample(name="coffee_mug") == {"FINISHED"}
    said = tools.refusal(RuntimeError, bpy.ops.gp3d.show_trust)
    assert "nothing is known of it" in said
    bpy.ops.mesh.primitive_cube_add()
    assert bpy.ops.gp3d.show_trust.poll() is False
    mug(tools)
    bpy.ops.object.mode_set(mode="EDIT")
    assert "Object Mode" in tools.refusal(RuntimeError, bpy.ops.gp3d.show_trust)
    bpy.ops.object.mode_set(mode="OBJECT")


def scenario_torn_values_change_nothing(tools):
    obj = mug(tools)
    tools.use("torn")
    said = tools.refusal(RuntimeError, bpy.ops.gp3d.show_trust)
    assert "do not belong to the vertices" in said
    assert not tools.part("trust.layers").has_layers(obj)


def scenario_examining_can_be_cancelled(tools):
    obj = mug(tools)
    with tools.window() as state:
        tools.use("slow")
        bpy.ops.gp3d.show_trust()
        session = state.session
        assert tools.until(lambda: session.status.current is not None and session.status.current.done > 1)
        assert session.status.current.stage == "supervision"
        bpy.ops.gp3d.cancel()
        assert tools.until(lambda: not session.status.at_work)
    assert not tools.part("trust.layers").has_layers(obj)


def scenario_an_object_that_is_gone_is_told(tools):
    obj = mug(tools)
    with tools.window() as state:
        tools.use("slow")
        bpy.ops.gp3d.show_trust()
        assert tools.until(lambda: state.session.status.current is not None)
        bpy.data.objects.remove(obj)
        assert tools.until(lambda: not state.session.status.at_work, 30)
    assert state.notice == "The object that was examined is gone."


def scenario_the_badge_opens_the_report_card(tools):
    folder = tools.folder / "card" / "cards"
    folder.mkdir(parents=True)
    content = {"format": "gp3d-report-card", "version": 1, "snapshot_sha256": "ab" * 32}
    content["classes"] = {"n03063599": {"name": "coffee mug", "badge": "fair", "measures": {}}}
    (folder / "cards.json").write_text(json.dumps(content))
    (folder / "n03063599.html").write_text("<p>a card")
    entry = tools.part("class_search").ImageNetClass(504, "n03063599", ("coffee mug",))
    other = tools.part("class_search").ImageNetClass(849, "n04398044", ("teapot",))
    drawn = []

    class Layout:
        scale_y = 1.0

        def label(self, *, text="", icon="NONE"):
            drawn.append(text)

        def operator(self, idname, *, text=None, icon="NONE"):
            drawn.append((idname, text))
            return self

        def row(self, **_):
            return self

        column = row

    draw, preferences = tools.part("ui.trust_panel").draw_badge, tools.preferences()
    layout = Layout()
    draw(layout, bpy.context, entry)
    assert drawn == []  # no folder was chosen
    for place in (folder, folder.parent):
        preferences.report_cards = str(place)
        draw(layout, bpy.context, entry)
        assert drawn[0] == ("gp3d.report_card", "Geometry: fair")
        assert layout.page == str(folder / "n03063599.html")
        drawn.clear()
    draw(layout, bpy.context, other)
    assert drawn == ["Geometry: not measured"]
    assert bpy.ops.gp3d.report_card(page=layout.page) == {"FINISHED"}
    (folder / "n03063599.html").unlink()
    missing = tools.refusal(RuntimeError, lambda: bpy.ops.gp3d.report_card(page=layout.page))
    assert "no report card at" in missing
    (folder / "cards.json").write_text("[")
    drawn.clear()
    draw(layout, bpy.context, entry)
    assert drawn == ["Geometry: not measured"]
    preferences.report_cards = str(tools.folder)
    drawn.clear()
    draw(layout, bpy.context, entry)
    assert "no cards.json" in " ".join(drawn)
    preferences.report_cards = ""
    of_the_model(tools, layout, drawn, folder)


def of_the_model(tools, layout, drawn, folder):
    """Without a chosen folder the badge is that of the cards that the class's model brings."""
    state, draw = tools.part("state").STATE, tools.part("ui.trust_panel").draw_badge
    kind, content = tools.part("class_search").ImageNetClass, {"format": "gp3d-report-card", "version": 1}
    content["classes"] = {"n03063599": {"name": "coffee mug", "badge": "good", "measures": {}}}
    (folder / "cards.json").write_text(json.dumps(content))
    mug = kind(504, "n03063599", ("coffee mug",), model="box", geometry="rough")
    drawn.clear()
    draw(layout, bpy.context, mug)
    assert drawn == [
        "Geometry: rough"
    ]  # as the add-on knows it before an engine has said where the page lies
    terms = tools.part("class_search").model_terms(
        [{"name": "zoo", "report_cards": ""}, {"name": "box", "report_cards": str(folder)}]
    )
    before = state.last_ready
    state.last_ready = tools.part("engine.protocol").EngineFacts(models=terms)
    drawn.clear()
    draw(layout, bpy.context, mug)
    assert drawn == [("gp3d.report_card", "Geometry: good")]
    drawn.clear()
    draw(layout, bpy.context, kind(849, "n04398044", ("teapot",), model="zoo"))
    assert drawn == []
    state.last_ready = before
