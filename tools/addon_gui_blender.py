"""Runs inside Blender's window for tools/addon_gui.py: plays one take of the add-on and takes its pictures.

Arguments after `--`: extension zip, legacy zip, take, folder of the pictures, then what differs from the defaults:
snapshot, image model, picture, depth model. The engine is gp3d on PATH.

A take is a generator: it does what buttons do, and yields what it waits for (seconds, or a condition). A timer plays
it, so that Blender draws and listens to the engine meanwhile.
"""

import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import bpy
from mathutils import Euler

ZIP, LEGACY, TAKE, OUT, SNAPSHOT, IMAGE_MODEL, PICTURE, DEPTH_MODEL = sys.argv[sys.argv.index("--") + 1 :]
INTERVAL, PATIENCE = 0.1, 400.0
DRAWN = 3.0  # seconds for animations and for drawing in software
Take = Iterator[float | Callable[[], bool]]


def extension() -> bool:
    """Whether this Blender installs extensions."""
    return bpy.app.version >= (4, 2)


MODULE = "bl_ext.user_default.gp3d" if extension() else "gp3d"


def part(name: str):
    """A module of the add-on."""
    return __import__(f"{MODULE}.{name}", fromlist=["_"])


def view() -> dict[str, object]:
    """The window, area and sidebar of the 3D viewport, as an override of the context."""
    window = bpy.context.window_manager.windows[0]
    area = next(area for area in window.screen.areas if area.type == "VIEW_3D")
    region = next(region for region in area.regions if region.type == "WINDOW")
    return {"window": window, "area": area, "region": region, "space_data": area.spaces.active}


def press(operator, **choices) -> None:
    """Calls an operator as its button in the sidebar does."""
    with bpy.context.temp_override(**{key: value for key, value in view().items() if key != "space_data"}):
        operator("INVOKE_DEFAULT", **choices)


def shoot(name: str, drawn: float = DRAWN, sidebar: bool = False, whole_screen: bool = False) -> Take:
    """A picture of the viewport, its sidebar or all, which tools/addon_gui.py takes as soon as it sees the wish."""
    for _ in range(2 if drawn else 0):
        view()["area"].tag_redraw()
        yield drawn
    wish = Path(OUT) / f"{name}.wish"
    area = view()["area"]
    shown = next(region for region in area.regions if region.type == "UI") if sidebar else area
    top = view()["window"].height - shown.y - shown.height
    partial = wish.with_suffix(".part")
    partial.write_text("100%" if whole_screen else f"{shown.width}x{shown.height}+{shown.x}+{top}")
    partial.rename(wish)
    yield lambda: not wish.exists()


def status():
    """What is known of the engine."""
    return part("state").STATE.session.status


def take_generating() -> Take:
    """Before, previews, during, after."""
    yield from shoot("before")
    press(bpy.ops.gp3d.preview)
    yield lambda: len(part("state").STATE.pictures) == 4 and not status().at_work
    press(bpy.ops.gp3d.pick, number=1)
    press(bpy.ops.gp3d.generate)
    yield lambda: status().current is not None and status().current.overall > 0.2
    yield from shoot("during", drawn=0.0)
    yield lambda: bool(bpy.data.objects) and not status().at_work
    yield from shoot("solid")
    press(bpy.ops.gp3d.show_colors)
    yield from shoot("after")


def take_trust() -> Take:
    """An object after Show Trust, seen a little from below."""
    region = view()["space_data"].region_3d
    region.view_distance = 2.2
    region.view_rotation = Euler((math.radians(105), 0.0, math.radians(30))).to_quaternion()
    press(bpy.ops.gp3d.generate)
    yield lambda: bool(bpy.data.objects) and not status().at_work
    press(bpy.ops.gp3d.show_trust)
    yield lambda: bool(part("trust.layers").has_layers(bpy.context.active_object)) and not status().at_work
    yield from shoot("trust")


def take_class() -> Take:
    """A class that the model does not know."""
    bpy.context.scene.gp3d.class_name = "airliner"
    yield from shoot("class", sidebar=True)


def take_browser() -> Take:
    """The seed browser with two classes and a row between two of their objects; and how quickly it fills, warm."""
    browser, choices = (lambda: part("state").STATE.browser), bpy.context.scene.gp3d
    at_rest = lambda: not browser().filling and not status().at_work  # noqa: E731
    choices.class_name, choices.seed = "coffee mug", 500
    press(bpy.ops.gp3d.browse)
    yield at_rest
    with bpy.context.temp_override(window=view()["window"], area=view()["area"], region=view()["region"]):
        began = time.monotonic()
        bpy.ops.wm.redraw_timer(type="DRAW_WIN", iterations=1)
    (Path(OUT) / "one-redraw.json").write_text(f"{time.monotonic() - began:.3f}")
    watched = Watch(part("state").STATE.session)
    for choices.seed in (600, 700, 800, 3):
        yield DRAWN  # another seed is a change of the scene, after which Blender draws everything
        watched.begin()
        press(bpy.ops.gp3d.browse)
        yield lambda: watched.shown[-1:] == [12]
        yield at_rest
        (Path(OUT) / f"browser-{choices.seed}.json").write_text(json.dumps(watched.found()))
    watched.end()
    press(bpy.ops.gp3d.browser_choose, number=browser().page[0].number)
    choices.class_name, choices.seed = "teapot", 4
    press(bpy.ops.gp3d.browse)
    yield at_rest
    pot = browser().page[4]
    press(bpy.ops.gp3d.browser_choose, number=pot.number)
    bpy.context.scene.gp3d_seeds.steps = 4
    press(bpy.ops.gp3d.browser_blend, row=True)
    press(bpy.ops.gp3d.browser_mix)
    yield at_rest
    press(bpy.ops.gp3d.browser_star, number=browser().page[2].number)
    yield from shoot("browser", sidebar=True)


class Watch:
    """When pictures of the seed browser are drawn, how often, and what that costs Blender and the engine."""

    def __init__(self, session) -> None:
        self._session, self._poll = session, session.poll
        self._panel = part("ui.browser_panel").GP3D_PT_browser
        self._draw = self._panel.draw
        self.shown: list[int] = []  # how many pictures the panel shows, of each time it was drawn
        self._marks: list[tuple[float, float, float]] = []
        self._ticks = 0
        watch = self

        def draw(panel, context) -> None:
            began = time.monotonic()
            watch._draw(panel, context)
            watch._panel_seconds += time.monotonic() - began
            watch.shown.append(sum(0 in tile.shots for tile in part("state").STATE.browser.page))
            watch._marks.append(watch._now())

        def poll():
            watch._ticks += 1
            return watch._poll()

        self._panel.draw, session.poll = draw, poll

    def begin(self) -> None:
        """From now on."""
        self.shown, self._marks, self._ticks, self._panel_seconds = [], [], 0, 0.0
        self._began = self._now()

    def end(self) -> None:
        """Watches no longer."""
        self._panel.draw = self._draw
        del self._session.poll

    def found(self) -> dict[str, float]:
        """Seconds, and processor seconds of Blender and of the engine, until the panel showed one and twelve."""
        found: dict[str, float] = {"load": round(os.getloadavg()[0], 1)}
        for name, count in (("first", 1), ("twelve", 12)):
            place = next(k for k, number in enumerate(self.shown) if number >= count)
            parts = zip(
                ("seconds", "blender_cpu", "engine_cpu"), self._marks[place], self._began, strict=True
            )
            found |= {f"{name}_{what}": round(now - then, 3) for what, now, then in parts}
            found[f"{name}_draws"] = place + 1
        return found | {"ticks": self._ticks, "panel_seconds": round(self._panel_seconds, 3)}

    def _now(self) -> tuple[float, float, float]:
        return time.monotonic(), cpu_seconds(os.getpid()), cpu_seconds(self._session.engine.pid)


def cpu_seconds(pid: int) -> float:
    """Processor seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def take_panels() -> Take:
    """The first half of the sub-panels."""
    yield from shoot("panels", sidebar=True)


def take_more() -> Take:
    """The other half."""
    yield from shoot("panels-more", sidebar=True)


def take_export() -> Take:
    """The file browser of Export."""
    bpy.context.scene.gp3d.quality, bpy.context.scene.gp3d.color = "DRAFT", "vertex"
    press(bpy.ops.gp3d.generate)
    yield lambda: bool(bpy.data.objects) and not status().at_work
    press(bpy.ops.gp3d.export)
    yield 2 * DRAWN
    yield from shoot("export", drawn=0.0, whole_screen=True)


def take_samples() -> Take:
    """The card of a Blender without engine, and a sample."""
    press(bpy.ops.gp3d.sample, name="coffee_mug")
    yield from shoot("samples-solid")
    press(bpy.ops.gp3d.show_colors)
    yield from shoot("samples")


def take_picture() -> Take:
    """Image to 3D, and what it made."""
    bpy.context.scene.gp3d.picture = PICTURE
    view()["space_data"].region_3d.view_distance = 2.2
    press(bpy.ops.gp3d.picture)
    yield lambda: bool(bpy.data.objects) and not status().at_work
    press(bpy.ops.gp3d.show_colors)
    yield from shoot("picture")


def take_relief() -> Take:
    """Relief from Depth, turned a little, and through its camera."""
    settings, region = bpy.context.scene.gp3d, view()["space_data"].region_3d
    settings.picture, settings.method = PICTURE, "RELIEF"
    region.view_distance = 2.6
    region.view_rotation = Euler((math.radians(82), 0.0, math.radians(14))).to_quaternion()
    press(bpy.ops.gp3d.picture)
    yield lambda: bool(bpy.data.objects) and not status().at_work
    press(bpy.ops.gp3d.show_colors)
    yield from shoot("relief")
    press(bpy.ops.gp3d.look_through)
    yield from shoot("relief-camera")


OPEN = {  # sub-panels that a take shows open
    "panels": ("GP3D_PT_mesh", "GP3D_PT_levels", "GP3D_PT_material", "GP3D_PT_placement"),
    "more": ("GP3D_PT_batch", "GP3D_PT_picture", "GP3D_PT_library", "GP3D_PT_engine"),
    "picture": ("GP3D_PT_picture",),
    "relief": ("GP3D_PT_picture",),
}


def open_panels(names) -> None:
    """Registers sub-panels anew so that they are open: only a click could open them later."""
    kinds = [kind for kind in part("ui.panels").CLASSES if getattr(kind, "bl_parent_id", "")]
    for kind in kinds:
        bpy.utils.unregister_class(kind)
    for kind in kinds:
        if kind.__name__ in names:
            kind.bl_options = set()
        bpy.utils.register_class(kind)


def in_first_tab() -> None:
    """Registers the panels anew in the tab that is in sight, in place of Blender's own there."""
    own = [kind for kind in bpy.types.Panel.__subclasses__() if getattr(kind, "bl_category", "") == "Tool"]
    kinds = part("ui.panels").CLASSES
    for kind in [*reversed(kinds), *own]:
        if kind.is_registered and kind.bl_space_type == "VIEW_3D":
            bpy.utils.unregister_class(kind)
    part("ui.layout").Tab.bl_category = "Tool"
    for kind in kinds:
        bpy.utils.register_class(kind)


def whole() -> Take:
    """The take, with an empty scene and the add-on's tab in sight before it."""
    for obj in list(bpy.data.objects):
        bpy.data.objects.remove(obj)
    if TAKE in OPEN:
        open_panels(OPEN[TAKE])
    space, area = view()["space_data"], view()["area"]
    space.show_region_ui, space.overlay.show_cursor = True, False
    space.region_3d.view_distance, space.region_3d.view_location = 3.6, (0.25, 0.0, 0.4)
    bpy.ops.ed.undo_push(message="empty scene")
    yield 2.0
    sidebar = next(region for region in area.regions if region.type == "UI")
    if hasattr(sidebar, "active_panel_category"):
        sidebar.active_panel_category = "GP3D"
    else:  # before Blender 4.2 no script chooses a tab: ours stands in the first
        in_first_tab()
    yield 2.0
    yield from globals()[f"take_{TAKE}"]()
    problem = status().problem
    if problem is not None:
        raise RuntimeError(f"{problem.code}: {problem.sentence}")


def played() -> Callable[[], float | None]:
    """The timer that plays the take and then ends Blender; its exit code is 1 if something went wrong."""
    steps, wait = whole(), [time.monotonic(), None]

    def tick() -> float | None:
        if time.monotonic() < wait[0]:
            return INTERVAL
        try:
            if wait[1] is not None and not wait[1]():
                if time.monotonic() > wait[0] + PATIENCE:
                    raise TimeoutError(f"nothing came within {PATIENCE:g} s: {status()}")
                return INTERVAL
            found = next(steps)
        except StopIteration:
            leave(0)
        except Exception as error:
            print(f"addon_gui: {type(error).__name__}: {error}", file=sys.stderr)
            leave(1)
        else:
            wait[:] = (time.monotonic(), found) if callable(found) else (time.monotonic() + found, None)
        return INTERVAL

    return tick


def leave(code: int) -> None:
    """Ends the engine and Blender."""
    part("state").STATE.close()
    time.sleep(1)
    sys.stderr.flush()
    os._exit(code)


bpy.context.preferences.view.show_splash = False
if extension():
    bpy.ops.extensions.package_install_files(filepath=ZIP, repo="user_default", enable_on_install=True)
else:
    bpy.ops.preferences.addon_install(filepath=LEGACY)
    bpy.ops.preferences.addon_enable(module=MODULE)
chosen = bpy.context.preferences.addons[MODULE].preferences
chosen.snapshot, chosen.vq3d, chosen.depth_model = SNAPSHOT, IMAGE_MODEL, DEPTH_MODEL
bpy.app.timers.register(played(), first_interval=1.0, persistent=True)
