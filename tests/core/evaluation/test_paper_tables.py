"""Tables for papers: every name that could break one is escaped, every figure stands in its column."""

import math
import re

import pytest

from gp3d_core.evaluation.report.paper import latex_text, markdown_text, paper_table
from gp3d_core.metrics.score import Score

WILD = r"mug_50% & $x^2$ #1 {a}~b\c | <b>*k*`"
SCORES = [
    Score(
        metric="dcd",
        value=0.51234,
        n=7,
        facts={
            "floor": 0.4,
            "copy": 0.3,
            "per_class": {WILD: 0.25, "cup\nof tea": None},
            "seed": 0,
            "alpha": 10.0,
        },
    ),
    Score(metric="fid2k", value=math.nan, n=2048, facts={"reference": "views_1"}),
]


def test_latex_rows_have_a_cell_for_each_score_and_no_sign_of_latex_in_names():
    table = paper_table(SCORES, "latex")
    body = [line for line in table.splitlines() if line.endswith(r"\\")]
    cells = [re.split(r"(?<!\\)&", line) for line in body]
    assert [len(row) for row in cells] == [3] * 6
    assert [row[1].strip() for row in cells[1:5]] == ["0.512", "0.4", "0.3", "0.25"]
    assert cells[5][0].strip() == "cup of tea"
    assert cells[5][1].strip() == cells[1][2].removesuffix(r"\\").strip() == "n/a"
    bare = re.sub(r"\\text\w+\{\}|\\[&%$#_{}]", "", cells[4][0])
    assert not set(bare) & set("&%$#_{}~^\\")
    assert table.count("{") - table.count(r"\{") == table.count("}") - table.count(r"\}")
    assert next(line for line in table.splitlines() if line.startswith("% ")) == "% Samples: 7, 2048."


def test_markdown_rows_have_a_cell_for_each_score():
    rows = [line for line in paper_table(SCORES, "markdown").splitlines() if line.startswith("|")]
    assert {len(re.split(r"(?<!\\)\|", row)) for row in rows} == {5}
    assert any(row.startswith("| *real models* | 0.4 | n/a |") for row in rows)


def test_texts_are_escaped():
    assert latex_text("a_b 5% \\") == r"a\_b 5\% \textbackslash{}"
    assert markdown_text("a|b_<i>") == r"a\|b\_\<i\>"


def test_another_kind_is_refused():
    with pytest.raises(ValueError, match="expected one of latex, markdown, found 'html'"):
        paper_table(SCORES, "html")
