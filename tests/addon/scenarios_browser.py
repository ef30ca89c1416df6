"""Scenarios in Blender: the seed browser, with an engine that draws at once, slowly, or dies of it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace

import bpy
from scenarios_panel import Layout, texts  # the folder of the scenarios is on the path of the child


def drawn(tools) -> list:
    """What the browser's panel draws now; without a window Blender has no icons, so pictures are counted instead."""
    record: list = []
    pictures, numbers = tools.part("browser.pictures"), {}
    load = pictures.icon_of

    def numbered(name):
        load(name)
        return numbers.setdefault(name, len(numbers) + 1) if pictures.is_kept(name) else 0

    pictures.icon_of = numbered
    try:
        kind = tools.part("ui.browser_panel").GP3D_PT_browser
        kind.draw(SimpleNamespace(layout=Layout(record)), bpy.context)
    finally:
        pictures.icon_of = load
    return record


def icons(record: list) -> list[int]:
    return [entry[1] for entry in record if entry[0] == "icon"]


def browse(tools, **choices):
    """The browser after Browse Seeds; no star of another scenario is there."""
    (tools.part("browser.pictures").folder() / "stars.json").unlink(missing_ok=True)
    for name, value in choices.items():
        setattr(bpy.context.scene.gp3d, name, value)
    assert bpy.ops.gp3d.browse() == {"FINISHED"}
    return tools.state().browser


def choose(*tiles):
    for tile in tiles:
        assert bpy.ops.gp3d.browser_choose(number=tile.number) == {"FINISHED"}


def scenario_a_page_fills_and_scrolls_on(tools):
    assert not icons(drawn(tools))
    browser = browse(tools, seed=5)
    assert [tile.seed for tile in browser.page] == list(range(5, 17))
    assert {tile.shots[0].pixels for tile in browser.page} == {96}  # finer than what came first
    shown = icons(drawn(tools))
    assert len(shown) == 12
    assert all(shown)
    assert len(set(shown)) == 12
    bpy.context.scene.gp3d_seeds.count = 48
    assert bpy.ops.gp3d.browser_scroll(forward=True) == {"FINISHED"}
    assert [tile.seed for tile in browser.page] == list(range(17, 65))
    assert len(icons(drawn(tools))) == 48
    assert bpy.ops.gp3d.browser_scroll(forward=False) == {"FINISHED"}
    assert browser.first == 0


def scenario_every_choice_of_the_browser_is_shown_once(tools):
    browse(tools)
    names = [entry[1] for entry in drawn(tools) if entry[0] == "prop"]
    known = {p.identifier for p in bpy.context.scene.gp3d_seeds.bl_rna.properties} - {"rna_type", "name"}
    assert sorted(names) == sorted(known)
    operators = {entry[1] for entry in drawn(tools) if entry[0] == "operator"}
    assert {"gp3d.browse", "gp3d.browser_scroll", "gp3d.browser_vary", "gp3d.browser_generate"} <= operators


def scenario_pictures_arrive_one_by_one_and_can_be_chosen_meanwhile(tools):
    with tools.window() as state:
        tools.use("slow")
        browse(tools)
        browser = state.browser
        seen = lambda: sum(0 in tile.shots for tile in browser.page)  # noqa: E731
        assert tools.until(lambda: seen() >= 2)
        assert seen() < 12
        assert state.session.status.at_work
        choose(browser.page[0])
        assert sum(map(bool, icons(drawn(tools)))) == seen()
        assert bpy.ops.gp3d.browser_generate() == {"FINISHED"}
        assert [job.op for job in state.session.status.waiting] == ["mesh"]
        tools.part("engine_control").cancel()
        assert tools.until(lambda: not state.session.status.at_work)
        assert not browser.filling
        missing = [tile for tile in browser.page if 0 not in tile.shots]
        assert missing
        assert ("operator", "gp3d.browser_fill", None) in drawn(tools)


def scenario_like_blend_and_mix_say_what_they_are_made_of(tools):
    browser = browse(tools, seed=1)
    first, second = browser.page[:2]
    choose(first)
    bpy.context.scene.gp3d_seeds.variations = 3
    assert bpy.ops.gp3d.browser_vary() == {"FINISHED"}
    assert [tile.label for tile in browser.page[:3]] == ["~1 1", "~2 1", "~3 1"]
    assert all("parents" in tile.wanted for tile in browser.page[:3])
    assert bpy.ops.gp3d.browser_vary() == {"FINISHED"}
    assert browser.page[0].label == "~4 1"  # others than before
    said = tools.refusal(RuntimeError, bpy.ops.gp3d.browser_mix)
    assert "Choose two pictures to mix, not 1" in said
    choose(second)
    assert bpy.ops.gp3d.browser_blend(at=0.25) == {"FINISHED"}
    assert [(p["seed"], p["early"], p["late"]) for p in browser.page[0].wanted["parents"]] == [
        (1, 0.75, 0.75),
        (2, 0.25, 0.25),
    ]
    bpy.context.scene.gp3d_seeds.steps = 4
    assert bpy.ops.gp3d.browser_blend(row=True) == {"FINISHED"}
    shares = [tile.wanted["parents"][1]["late"] for tile in browser.page[:4]]
    assert shares == [0.2, 0.4, 0.6, 0.8]
    assert bpy.ops.gp3d.browser_mix() == {"FINISHED"}
    assert [(p["early"], p["late"]) for p in browser.page[0].wanted["parents"]] == [(1, 0), (0, 1)]
    assert browser.page[0].label == "1|2"


def scenario_chosen_ones_of_two_classes_are_made_in_one_queue(tools):
    browser = browse(tools, class_name="coffee mug", seed=1)
    choose(browser.page[2])
    browse(tools, class_name="teapot", seed=7)
    assert [tile.seed for tile in browser.page[:2]] == [3, 7]  # what is chosen stays in front
    choose(browser.page[1])
    assert bpy.ops.gp3d.browser_mix() == {"FINISHED"}
    choose(browser.page[0])
    assert "Generate 3 Meshes" in texts(drawn(tools))
    before = len(bpy.data.objects)
    assert bpy.ops.gp3d.browser_generate() == {"FINISHED"}
    made = [json.loads(obj["gp3d"])["request"] for obj in list(bpy.data.objects)[before:]]
    assert sorted(request.get("seed", -1) for request in made) == [-1, 3, 7]
    (mixed,) = [request["object"] for request in made if "object" in request]
    assert [(p["class"], p["early"], p["late"]) for p in mixed["parents"]] == [
        ("n03063599", 1, 0),
        ("n04398044", 0, 1),
    ]
    obj = next(obj for obj in bpy.data.objects if "object" in json.loads(obj["gp3d"])["request"])
    bpy.context.view_layer.objects.active = obj
    assert bpy.ops.gp3d.regenerate(higher=True) == {"FINISHED"}
    again = json.loads(obj["gp3d"])
    assert (again["request"]["object"], again["request"]["grid"]) == (mixed, 256)
    assert again["recipe"]["parents"] == mixed["parents"]


def scenario_a_file_keeps_the_browser_and_a_machine_its_stars(tools):
    browser = browse(tools, class_name="coffee mug", seed=40)
    choose(browser.page[3], browser.page[1])
    bpy.ops.gp3d.browser_blend(at=0.5)
    bpy.ops.gp3d.browser_star(number=browser.page[0].number)
    starred = browser.page[0].wanted
    assert drawn(tools).count(("operator", "gp3d.browser_star", "")) == 12
    before = [(tile.label, tile.shots) for tile in browser.tiles]
    path = tools.folder / "kept.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(path))
    bpy.ops.wm.read_homefile(use_empty=True)
    assert not tools.state().browser.tiles
    tools.state().session.stop()
    bpy.ops.wm.open_mainfile(filepath=str(path))
    browser = tools.state().browser
    assert [(tile.label, tile.shots) for tile in browser.tiles] == before
    assert [tile.seed for tile in browser.picked] == [43, 41]
    assert all(icons(drawn(tools)))  # without an engine
    assert tools.state().session.engine is None
    bpy.ops.wm.read_homefile(use_empty=True)
    bpy.context.scene.gp3d.class_name, bpy.context.scene.gp3d.seed = "coffee mug", 0
    assert bpy.ops.gp3d.browse() == {"FINISHED"}
    browser = tools.state().browser
    assert browser.page[0].wanted == starred  # first, and with its picture already there
    assert [tile.seed for tile in browser.page[1:4]] == [0, 1, 2]
    assert bpy.ops.gp3d.browser_star(number=browser.page[0].number) == {"FINISHED"}
    assert bpy.ops.gp3d.browse() == {"FINISHED"}
    assert browser.page[0].seed == 0
    for file in (tools.part("browser.pictures").folder() / "pictures").iterdir():
        file.unlink()
    bpy.ops.wm.open_mainfile(filepath=str(path))
    assert not any(icons(drawn(tools)))
    assert bpy.ops.gp3d.browser_fill() == {"FINISHED"}
    assert all(tile.shots[0].pixels == 96 for tile in tools.state().browser.page)


def scenario_the_dial_turns_the_page_and_caches_twelve_directions(tools):
    browser = browse(tools, seed=1)
    tile = browser.page[0]
    choose(tile)
    usual = tile.shots[0]
    with tools.window() as state:
        bpy.context.scene.gp3d_seeds.turn = 4
        assert tools.until(lambda: not state.session.status.at_work and not browser.filling)
    assert set(tile.shots) == set(range(12))
    assert set(browser.page[1].shots) == {0, 4}
    assert tile.shots[0] == usual
    asked = len(os.listdir(tools.part("browser.pictures").folder() / "pictures"))
    with tools.window() as state:
        bpy.context.scene.gp3d_seeds.turn = 4
        assert tools.until(lambda: not state.session.status.at_work and not browser.filling)
    assert len(os.listdir(tools.part("browser.pictures").folder() / "pictures")) == asked


def scenario_without_an_engine_or_after_its_death_there_is_one_line(tools):
    tools.use("")
    tools.state().look_for_engine("")
    said = tools.refusal(RuntimeError, bpy.ops.gp3d.browse)
    assert len(said.strip().splitlines()) == 1, said
    assert "There is no engine" in said
    tools.use("dies")
    said = tools.refusal(RuntimeError, bpy.ops.gp3d.browse)
    assert len(said.strip().splitlines()) == 1, said
    browser = tools.state().browser
    assert sum(0 in tile.shots for tile in browser.page) == 3  # what came stays
    assert not browser.filling
    assert ("operator", "gp3d.browser_fill", None) in drawn(tools)
    tools.use("good")
    assert bpy.ops.gp3d.browser_fill() == {"FINISHED"}
    assert all(0 in tile.shots for tile in browser.page)


def scenario_a_model_that_cannot_combine_says_so_and_the_page_stays(tools):
    tools.use("flat")
    browser = browse(tools, seed=1)
    before = list(browser.tiles)
    choose(*browser.page[:2])
    said = tools.refusal(RuntimeError, bpy.ops.gp3d.browser_mix)
    assert "no late style codes" in said
    assert len(said.strip().splitlines()) == 1, said
    assert browser.tiles == before
    assert tools.state().session.status.problem.code == "E_COMBINE"
    assert bpy.ops.gp3d.browser_fill() == {"FINISHED"}
    assert tools.state().session.status.problem is None


def scenario_each_object_of_a_queue_is_one_step_to_undo_and_leaves_the_browser(tools):
    browser = browse(tools, seed=1)
    choose(*browser.page[:2])
    bpy.ops.ed.undo_push(message="before")
    assert bpy.ops.gp3d.browser_generate() == {"FINISHED"}
    for left in (1, 0):
        bpy.ops.ed.undo()
        assert len(bpy.data.objects) == left
        assert len(tools.state().browser.picked) == 2
    assert all(tile.shots for tile in tools.state().browser.page)


def scenario_the_pipette_shows_a_combined_object_in_the_browser(tools):
    browser = browse(tools, seed=1)
    choose(*browser.page[:2])
    bpy.ops.gp3d.browser_blend(at=0.25)
    blend = browser.page[0].wanted
    bpy.ops.gp3d.browser_clear()
    tools.state().browser.take(blend, "coffee mug", 0.7, "")
    assert bpy.ops.gp3d.browser_generate() == {"FINISHED"}
    bpy.ops.gp3d.browser_clear()
    assert "seed 1, combined" in texts(panel(tools))
    assert bpy.ops.gp3d.use_recipe() == {"FINISHED"}
    (tile,) = tools.state().browser.picked
    assert (tile.wanted, tile.seed) == (blend, 1)


def panel(tools) -> list:
    """What the main panel draws now."""
    record: list = []
    kind = tools.part("ui.main_panel").GP3D_PT_main
    kind.draw(SimpleNamespace(layout=Layout(record)), bpy.context)
    return record


def scenario_damaged_kept_browsers_are_empty_ones(tools):
    kept = tools.part("seeds.tiles").Browser
    for text in ("", "{", "[]", '{"format": 9}', '{"format": 1, "tiles": [3, {"wanted": 4}], "chosen": "x"}'):
        assert not kept.of_json(text).tiles
    stars = tools.part("seeds.stars").Stars(Path(tools.folder) / "broken.json")
    stars.path.write_text("[1")
    assert stars.of_class("n03063599") == []
