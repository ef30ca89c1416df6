"""How often the sidebar is drawn while pictures arrive."""

from __future__ import annotations

from itertools import pairwise

import pytest

from blender_addon.engine.pace import Pace

_INTERVAL = 0.03


def _drawings(cost: float, every: float = 0.06, pictures: int = 12) -> list[float]:
    """When a window that takes `cost` seconds to draw is drawn, until the last picture, one `every` seconds, is."""
    pace, now, shown, drawn = Pace(), 0.0, 0, []
    while shown < pictures:
        arrived = min(pictures, int(now / every))
        if pace.draws(arrived > shown, now, _INTERVAL):
            drawn.append(now)
            shown = arrived
            now += cost
        now += _INTERVAL
    return drawn


def test_every_picture_is_drawn_as_it_comes_where_drawing_costs_nothing() -> None:
    assert len(_drawings(cost=0.0)) == 12


@pytest.mark.parametrize("cost", [0.1, 0.25, 0.7])
def test_drawing_takes_a_fifth_of_the_time_where_it_is_slow(cost: float) -> None:
    drawn = _drawings(cost)
    assert drawn[0] < 0.1  # the first picture does not wait
    gaps = [later - earlier for earlier, later in pairwise(drawn)]
    pause = min(4 * cost, 1.0)
    assert min(gaps) >= cost + pause
    assert max(gaps) <= cost + pause + 0.06 + 2 * _INTERVAL  # and nothing waits longer than it must


def test_what_came_during_the_pause_is_drawn_afterwards() -> None:
    pace = Pace()
    assert pace.draws(True, 0.0, _INTERVAL)
    assert not pace.draws(True, 0.13, _INTERVAL)  # drawing took 0.1 s
    assert pace.waiting
    assert not pace.draws(False, 0.5, _INTERVAL)
    assert pace.draws(False, 0.55, _INTERVAL)
    assert not pace.waiting


def test_the_last_of_a_job_does_not_wait() -> None:
    pace = Pace()
    assert pace.draws(True, 0.0, _INTERVAL)
    assert not pace.draws(True, 0.13, _INTERVAL)
    assert pace.draws(True, 0.16, _INTERVAL, at_once=True)
