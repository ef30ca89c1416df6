"""How far a job is, as people see it: a bar on a terminal, lines elsewhere, and nothing of what is quick."""

import io

import pytest

from gp3d_core.signals import counted, shown_progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def work(every):
    with shown_progress(every) as progress:
        done = [list(counted("abc", stage, progress)) for stage in ("codes", "views")]
    assert done == [["a", "b", "c"]] * 2


def test_without_a_terminal_lines_stand_one_below_the_other(capsys):
    work(0.0)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == [f"{stage}: {k} of 3" for stage in ("codes", "views") for k in range(4)]
    assert "\r" not in said.err


def test_what_is_quick_says_nothing(capsys):
    work(60.0)
    assert capsys.readouterr().err == ""


def test_on_a_terminal_there_is_a_bar_of_the_stage(monkeypatch):
    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    work(60.0)
    last = screen.getvalue().rstrip().split("\r")[-1]
    assert "views: 100%" in last
    assert "3/3" in last


def test_progress_may_stop_what_is_counted():
    def stop(stage, done, total):
        if done == 2:
            raise KeyboardInterrupt

    seen = []
    with pytest.raises(KeyboardInterrupt):
        seen.extend(counted([1, 2, 3, 4], "steps", stop))
    assert len(seen) == 2
