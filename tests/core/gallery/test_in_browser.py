"""A gallery in a real browser: it loads from a file, turns, shows colours, finds by class, and asks nobody anything."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from gp3d_core.gallery.page import write_gallery
from gp3d_core.meshing.files.formats import missing_libraries
from gp3d_core.meshing.files.writing import save_mesh, save_recipe
from gp3d_core.meshing.mesh import Mesh
from tests.addon.conftest import load_tool
from tests.support.browser import Browser, browser, needs_browser
from tests.support.solids import ball, box

pytestmark = [needs_browser, pytest.mark.slow]
_HOST = "http:/" + "/127.0.0.1"
RED, BLUE = (200, 30, 30), (30, 60, 200)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Browser, Path]]:
    """A browser with the page of four meshes, and its folder."""
    folder = tmp_path_factory.mktemp("gallery")
    two_sided_ball(folder / "ball.glb")
    textured_box(folder / "box.npz")
    (folder / "cut.glb").write_bytes((folder / "ball.glb").read_bytes()[:-9])
    save_recipe({"class": {"name": "coffee mug", "wnid": "n03063599"}}, folder / "ball.recipe.json")
    if "meshopt" not in missing_libraries():
        save_mesh(ball(fine=2), folder / "small.glb", {"compress": "meshopt"})
    calls_home(folder / "spy.glb", folder / "ball.glb", 9)
    write_gallery(folder, folder / "gallery.html", "Test", lambda _: None)
    with browser(tmp_path_factory.mktemp("profile")) as running:
        running.open(folder / "gallery.html")
        yield running, folder


def two_sided_ball(path: Path) -> None:
    """A ball that is red towards +z, which is its front, and blue behind."""
    mesh = ball(fine=4)
    colors = np.where(mesh.vertices[:, 2:] > 0, np.array(RED), np.array(BLUE)).astype(np.uint8)
    save_mesh(Mesh(mesh.vertices, mesh.faces, vertex_colors=colors, normals=mesh.vertices / 0.5), path)


def textured_box(path: Path) -> None:
    mesh = box(1, 1, 1)
    texture = np.broadcast_to(np.array(RED, np.uint8), (8, 8, 3)).copy()
    save_mesh(
        Mesh(
            mesh.vertices, mesh.faces, uv=np.full((len(mesh.vertices), 2), 0.5, np.float32), texture=texture
        ),
        path,
    )


def calls_home(path: Path, whole: Path, port: int) -> None:
    """A GLB file whose texture lies on a server."""
    content = whole.read_bytes()
    length = struct.unpack("<I", content[12:16])[0]
    tree, rest = json.loads(content[20 : 20 + length]), content[20 + length :]
    tree |= {"images": [{"uri": f"{_HOST}:{port}/spy.png"}], "textures": [{"source": 0}]}
    tree["materials"][0]["emissiveTexture"] = {"index": 0}
    text = json.dumps(tree).encode()
    text += b" " * (-len(text) % 4)
    head = struct.pack("<4sIIII", b"glTF", 2, 20 + len(text) + len(rest), len(text), 0x4E4F534A)
    path.write_bytes(head + text + rest)


def turned(running: Browser, name: str) -> str:
    """Turns the mesh of that file name; returns the selector of its stage."""
    card = f".card[data-search^='{name}']"
    running.run(f'document.querySelector("{card} .stage:not(.live) button")?.click()')
    running.wait(f"document.querySelector(\"{card}\").classList.contains('loaded')")
    running.run(f'document.querySelector("{card}").scrollIntoView()')
    running.run(
        "document.querySelectorAll('model-viewer').forEach(v => { v.autoRotate = false; v.resetTurntableRotation(0) })"
    )
    return f"{card} .stage"


def drawn(running: Browser, stage: str, orbit: str) -> np.ndarray:
    """What the viewer shows from a place, once it has come there and drawn it."""
    viewer = f'document.querySelector("{stage} model-viewer")'
    running.run(f"{viewer}.cameraOrbit = '{orbit}', {viewer}.jumpCameraToGoal()")
    running.run(
        "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 800))))"
    )
    return running.picture(stage)


def middle(picture: np.ndarray) -> np.ndarray:
    """The mean colour of the middle ninth of a picture."""
    high, wide = picture.shape[0] // 3, picture.shape[1] // 3
    return picture[high : 2 * high, wide : 2 * wide].reshape(-1, 3).mean(axis=0)


def test_a_mesh_turns_and_shows_its_colours(page: tuple[Browser, Path]) -> None:
    running, _ = page
    stage = turned(running, "ball")
    front, back = drawn(running, stage, "0deg 90deg 105%"), drawn(running, stage, "180deg 90deg 105%")
    for picture, color in ((front, RED), (back, BLUE)):
        assert np.abs(middle(picture) - color).max() < 60, middle(picture)
        assert middle(picture).argmax() == int(np.argmax(color))
        assert (picture[12:20, 12:20] > 240).all()  # in front of white


def test_the_mouse_turns_it(page: tuple[Browser, Path]) -> None:
    running, _ = page
    stage = turned(running, "ball")
    before = drawn(running, stage, "0deg 90deg 105%")
    orbit = f'document.querySelector("{stage} model-viewer").getCameraOrbit().theta'
    was = running.run(orbit)
    place = running.run(
        f'(() => {{const r = document.querySelector("{stage}").getBoundingClientRect();'
        "return [r.x + r.width / 2, r.y + r.height / 2, r.width]})()"
    )
    running.drag((place[0], place[1]), (place[0] + 0.45 * place[2], place[1]))
    running.wait(f"Math.abs({orbit} - {was}) > 0.5")
    running.run("new Promise(done => setTimeout(done, 1500))")
    assert np.abs(middle(running.picture(stage)) - middle(before)).max() > 20


def test_formats_that_browsers_do_not_know_show_too(page: tuple[Browser, Path]) -> None:
    running, _ = page
    picture = drawn(running, turned(running, "box"), "0deg 90deg 105%")
    assert np.abs(middle(picture) - RED).max() < 60


@pytest.mark.skipif("meshopt" in missing_libraries(), reason="meshopt is not installed")
def test_compressed_files_show_too(page: tuple[Browser, Path]) -> None:
    running, _ = page
    picture = drawn(running, turned(running, "small"), "0deg 90deg 105%")
    assert middle(picture).max() < 250  # something stands in front of white
    assert (picture[12:20, 12:20] > 240).all()


def test_a_broken_file_is_marked_and_has_nothing_to_turn(page: tuple[Browser, Path]) -> None:
    running, _ = page
    card = "document.querySelector(\".card[data-search^='cut']\")"
    assert "truncated" in running.run(f"{card}.querySelector('.problem').textContent")
    assert running.run(f"{card}.querySelector('button')") is None


def test_search_finds_by_any_name_of_a_class(page: tuple[Browser, Path]) -> None:
    running, _ = page
    box = "document.getElementById('search')"
    type_in = f"{box}.value = '{{}}', {box}.dispatchEvent(new Event('input'))"
    shown = "[...document.querySelectorAll('.card:not([hidden]) h2')].map(h => h.textContent)"
    running.run(type_in.format("COFFEE mug"))
    assert running.run(shown) == ["coffee mug"]
    assert running.run("document.getElementById('count').textContent").startswith("1 of ")
    running.run(type_in.format(""))
    assert len(running.run(shown)) > 3


def test_a_page_asks_nobody_anything(page: tuple[Browser, Path]) -> None:
    """Not even for what a mesh file names: a server stands ready where its texture would be."""
    running, folder = page
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(1.0)
        calls_home(folder / "spy.glb", folder / "ball.glb", server.getsockname()[1])
        write_gallery(folder, folder / "gallery.html", "Test", lambda _: None)
        running.open(folder / "gallery.html")
        assert running.run("document.querySelectorAll('.stage button').length") >= 2
        running.run("document.querySelectorAll('.stage button').forEach(button => button.click())")
        running.wait("document.querySelectorAll('.card.loaded').length >= 2")
        running.run("new Promise(done => setTimeout(done, 1500))")
        with pytest.raises(TimeoutError):
            server.accept()
    schemes = {address.split(":")[0] for address in running.requests}
    assert "file" in schemes
    assert schemes <= {"file", "data", "blob"} | ({"http"} if refused(running) else set())


def refused(running: Browser) -> bool:
    """Whether the console says that the policy kept the page from its one address on a server."""
    return any("Content Security Policy" in said and "spy.png" in said for said in running.problems)


def test_the_gallery_of_the_site_opens_from_a_file(tmp_path: Path) -> None:
    """The page of docs/gallery-box, with eight classes of the main model, as the site has it."""
    page = tmp_path / "gallery-box.html"
    page.write_text(load_tool("site_pages").page_of("gallery-box.html"), encoding="utf-8")
    with browser(tmp_path / "profile") as running:
        running.open(page)
        names = running.run("[...document.querySelectorAll('.card h2')].map(h => h.textContent)")
        assert len(names) == 8
        assert "coffee mug" in names
        assert running.run("document.querySelectorAll('.card .problem').length") == 0
        picture = drawn(running, turned(running, "coffee_mug"), "30deg 75deg 105%")
        assert middle(picture).max() < 250  # something stands in front of white
        assert not [
            address for address in running.requests if not address.startswith(("file:", "blob:", "data:"))
        ]
