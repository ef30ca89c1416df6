"""How often the sidebar is drawn anew while pictures arrive: as often as it may, without holding Blender up."""

from __future__ import annotations

_PAUSE = 4.0  # times what drawing took, in which nothing is drawn: it gets a fifth of the time
_LONGEST = 1.0  # seconds of a pause: the timer may be late for other reasons, too


class Pace:
    """Lets drawing take a fifth of the time, judged by how late the timer comes that follows it.

    With a graphics card that is no limit. Where the processor draws, a large window takes a good part of a second, and
    what arrives meanwhile is drawn together.
    """

    def __init__(self) -> None:
        self.waiting = False  # whether something is still to be drawn
        self._due: float | None = None  # when the timer would come if drawing took no time
        self._free = 0.0  # when drawing may begin again

    def draws(self, wanted: bool, now: float, interval: float, at_once: bool = False) -> bool:
        """Whether to draw at the time `now`, in seconds, as it is `wanted` now or was before.

        What is the last for now is drawn `at_once`. To be called whenever the timer comes; it comes again after
        `interval` seconds and what drawing takes.
        """
        if self._due is not None:
            self._free = now + min(_PAUSE * max(0.0, now - self._due), _LONGEST)
            self._due = None
        self.waiting |= wanted
        if not self.waiting or (now < self._free and not at_once):
            return False
        self.waiting, self._due = False, now + interval
        return True
