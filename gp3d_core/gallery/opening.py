"""Opens a page in the browser of whoever sits here."""

from __future__ import annotations

import webbrowser
from pathlib import Path

from gp3d_core.errors import GP3DError
from gp3d_core.gallery.entries import GalleryError


class NoBrowserError(GP3DError):
    """A machine without a browser."""

    exit_code = 3


def find_browser() -> webbrowser.BaseBrowser:
    """The browser of this machine, or of the environment variable BROWSER. Raises NoBrowserError."""
    try:
        return webbrowser.get()
    except webbrowser.Error:
        raise NoBrowserError(
            "no browser was found here; write the page with gp3d gallery and open its file elsewhere, "
            "or name a program in the environment variable BROWSER"
        ) from None


def open_page(browser: webbrowser.BaseBrowser, page: Path) -> None:
    """Opens the file. Raises GalleryError if it is no page, NoBrowserError if the browser does not take it."""
    if not page.is_file() or page.suffix.lower() not in (".html", ".htm"):
        raise GalleryError(f"{page}: expected a folder of meshes or the .html file of a gallery")
    if not browser.open(page.resolve().as_uri()):
        raise NoBrowserError(f"the browser does not open; open {page} yourself")
