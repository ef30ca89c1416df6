"""What lives as long as the add-on is enabled: the session, the pictures to choose from, and what was measured.

Nothing here is saved with a file; nothing here touches the scene.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import bpy
import numpy as np
from bpy.utils import previews

from .class_search import (
    ImageNetClass,
    ModelTerms,
    classes_of_model,
    imagenet_classes,
    offered_classes,
    pretrained_terms,
)
from .engine.process import EngineNotFoundError, find_engine
from .engine.protocol import EngineFacts
from .engine.session import Session
from .seeds.tiles import Browser

SAMPLES = Path(__file__).resolve().parent / "samples"
MOST_PICTURES = 64


@dataclass
class Picture:
    """A thumbnail of a seed: what it shows, where Blender keeps it, and whether it is chosen."""

    class_name: str
    seed: int
    truncation: float
    path: str
    icon: int
    chosen: bool = False


@dataclass
class State:
    """Everything that buttons and the timer share; `browser` is what a file keeps of it."""

    session: Session = field(default_factory=Session)
    browser: Browser = field(default_factory=Browser)
    pictures: list[Picture] = field(default_factory=list)
    samples: dict[str, int] = field(default_factory=dict)  # file name without suffix: icon
    command: list[str] | None = None  # the engine that was found
    complaint: str = ""  # why the preferred one is none
    notice: str = ""  # what the last job achieved, one line
    last_ready: EngineFacts = field(default_factory=EngineFacts)  # of the last engine, after it has ended
    import_seconds: float = 0.0  # how long the last mesh held up Blender
    waits: bool = field(default_factory=lambda: bpy.app.background)  # whether operators wait for their jobs
    wake: Callable[[], None] = lambda: None  # asks a running engine for what the seed browser needs
    icons: previews.ImagePreviewCollection | None = None

    def look_for_engine(self, preferred: str) -> None:
        """Looks for the engine again; a checkout of the project that holds this add-on may have one."""
        try:
            self.command = find_engine(preferred, Path(__file__).resolve().parents[1:2])
            self.complaint = ""
        except EngineNotFoundError as error:
            self.command, self.complaint = None, str(error)

    @property
    def classes(self) -> tuple[ImageNetClass, ...]:
        """What can be asked for: the classes of the model; without an engine those of the samples; as long as no
        model has listed any, all classes, those of the pretrained model first.
        """
        if self.session.status.classes:
            return self.session.status.classes
        if self.command is None:
            wanted = [name.replace("_", " ") for name in self.samples]
            return tuple(entry for entry in imagenet_classes() if entry.name in wanted)
        return offered_classes()

    def known_classes(self, snapshot: str) -> tuple[ImageNetClass, ...]:
        """The classes of the model: as it has listed them, or, where no `snapshot` or the name of one is chosen, those
        that the pretrained models are known to have; empty where nothing is known of it.
        """
        return self.session.status.classes or classes_of_model(snapshot.strip())

    def terms_of(self, entry: ImageNetClass) -> ModelTerms | None:
        """The terms of the model that makes a class, where it owes somebody credit."""
        ready = self.session.status.ready
        known = pretrained_terms() if ready is None else ready.models
        return next((one for one in known if one.name == entry.model and one.credits), None)

    def report_cards_of(self, entry: ImageNetClass) -> str:
        """The folder of the report cards that the model of a class brings; empty where it brings none."""
        known = (self.session.status.ready or self.last_ready).models
        own = [one.report_cards for one in known if one.name == entry.model or len(known) == 1]
        return next(filter(None, own), "")

    def entry_of(self, query: str | None) -> ImageNetClass | None:
        """The class that an engine calls so, None for a model without classes."""
        known = [entry for entry in (*self.session.status.classes, *self.classes) if entry.query == query]
        return known[0] if known else ImageNetClass(-1, "", (query,)) if query else None

    def load_samples(self) -> None:
        """Reads the thumbnails of the samples."""
        self.icons = previews.new()
        for path in sorted(SAMPLES.glob("*.npz")):
            with np.load(path, allow_pickle=False) as data:
                pixels = data["thumbnail"]
            values = np.ones((*pixels.shape[:2], 4), np.float32)
            values[..., :3] = pixels[::-1] / np.float32(255)
            icon = self.icons.new(path.stem)
            icon.image_size = pixels.shape[1::-1]
            icon.image_pixels_float.foreach_set(values.reshape(-1))
            self.samples[path.stem] = icon.icon_id

    def icon_of(self, name: str, path: str) -> int:
        """The icon of a picture, which is read once; 0 while there are no icons."""
        if self.icons is None:
            return 0
        held = self.icons.get(name)
        if held is None:
            held = self.icons.load(name, path, "IMAGE")
            # Asking for its size reads the file now. Otherwise Blender does, in the background, once it is to be
            # drawn, and draws its windows anew, viewports included, while it does.
            held.image_size[:]
        return int(held.icon_id)

    def add_picture(self, class_name: str, seed: int, truncation: float, path: str) -> Picture:
        """One more thumbnail; that of a seed that is shown already stays, and the oldest make room."""
        known = [
            p for p in self.pictures if (p.class_name, p.seed, p.truncation) == (class_name, seed, truncation)
        ]
        if known:
            return known[0]
        name = f"{class_name}/{seed}/{truncation}/{path}"
        icon = self.icon_of(name, path) if Path(path).is_file() else 0
        picture = Picture(class_name, seed, truncation, path, icon)
        self.pictures = [*self.pictures, picture][-MOST_PICTURES:]
        return picture

    def close(self) -> None:
        """Ends the engine and gives everything back."""
        self.session.stop()
        self.pictures.clear()
        self.browser = Browser()
        self.samples.clear()
        if self.icons is not None:
            previews.remove(self.icons)
            self.icons = None


STATE = State()


def redraw() -> None:
    """Asks for every sidebar that may show us to be drawn again."""
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "VIEW_3D":
                for region in area.regions:
                    if region.type == "UI":
                        region.tag_redraw()
