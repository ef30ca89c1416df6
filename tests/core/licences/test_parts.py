"""What stands in a list of licences: what is read, grouped, merged and bounded, and what licences ask."""

from __future__ import annotations

import json
import re

import pytest

from gp3d_core.licences.page import attribution, escaped, licence_lines, short_credits
from gp3d_core.licences.parts import (
    UNKNOWN,
    Licences,
    Part,
    bounded,
    grouped,
    merge,
    parse_licences,
    stated_or_unknown,
)
from gp3d_core.licences.terms import terms_of


def test_a_list_comes_back_as_it_was_written() -> None:
    parts = (Part("CC-BY-3.0", "A", "s", "c", 3), Part("CC0-1.0", "B", models=1))
    assert parse_licences(json.loads(json.dumps(Licences(parts).as_json()))) == Licences(parts)


@pytest.mark.parametrize(
    "value",
    [
        {},
        "CC0",
        None,
        ["CC0"],
        [{"licence": 3}],
        [{"licence": "CC0-1.0", "author": None}],
        [{"licence": "CC0-1.0", "models": -1}],
        [{"licence": "CC0-1.0", "models": True}],
        [{"licence": "CC0-1.0", "models": 1.5}],
        [{}] * 100_001,
    ],
)
def test_other_values_are_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"^licences: expected"):
        parse_licences(value)


def test_texts_of_strangers_are_on_one_line_and_bounded() -> None:
    evil = {"licence": "CC0\x1b[2J-1.0\n", "author": "a" * 5000, "source": "\u202egnp.exe", "models": 10**40}
    (part,) = parse_licences([evil]).parts
    assert (part.licence, part.source, part.models) == ("CC0 [2J-1.0", "gnp.exe", 10**9)
    assert len(part.author) == 1000
    assert part.author.endswith("a\u2026")
    assert parse_licences([{}]).parts == (Part(UNKNOWN),)


def test_models_are_counted_by_what_is_said_of_them() -> None:
    one, other = {"licence": "MIT", "author": "A"}, {"licence": "CC0-1.0", "author": "A"}
    assert grouped([one, other, one, None, None, one]).parts == (
        Part("CC0-1.0", "A", models=1),
        Part("MIT", "A", models=3),
        Part(UNKNOWN, models=2),
    )


def test_what_several_name_counts_once() -> None:
    first = Licences((Part("MIT", "A", models=3), Part("CC0-1.0", "B", models=1)))
    second = Licences((Part("MIT", "A", models=5), Part("MIT", "C", models=1)))
    assert merge(first, second) == merge(second, first)
    assert merge(first, second).counts() == {"CC0-1.0": 1, "MIT": 6}
    assert merge(first, first) == Licences(tuple(sorted(first.parts)))


@pytest.mark.parametrize(
    ("words", "licence"),
    [
        ("", UNKNOWN),
        ("not stated", UNKNOWN),
        ("the licences of the source models apply", UNKNOWN),
        ("CC0-1.0", "CC0-1.0"),
        ("mine\nalone", "mine alone"),
    ],
)
def test_data_without_a_list_have_the_licence_that_they_state_in_words(words: str, licence: str) -> None:
    assert stated_or_unknown(Licences(), words, "data set d").parts == (Part(licence, source="data set d"),)
    stated = Licences((Part("MIT"),))
    assert stated_or_unknown(stated, words, "data set d") == stated


def test_a_long_list_keeps_licences_and_numbers_and_the_authors_of_most_models() -> None:
    parts = tuple(
        Part(("MIT", "CC-BY-3.0")[k % 2], f"author {k:05d}", "s" * 90, "c" * 90, k + 1) for k in range(3000)
    )
    whole = Licences(parts)
    assert bounded(whole) == whole
    less, least = bounded(whole, 300_000), bounded(whole, 20_000)
    assert {part.author for part in less.parts} == {part.author for part in parts}
    assert {(part.source, part.changes) for part in less.parts} == {("", "")}
    for short, most in ((less, 300_000), (least, 20_000)):
        assert len(json.dumps(short.as_json())) <= most
        assert short.counts() == whole.counts()
    assert len(json.dumps(least.as_json())) > 19_000  # as many as there is room for
    counted = [part for part in least.parts if part.author.endswith(" more authors")]
    named = {part.author for part in least.parts} - {part.author for part in counted}
    assert sorted(part.licence for part in counted) == ["CC-BY-3.0", "MIT"]
    assert named == {f"author {k:05d}" for k in range(3000 - len(named), 3000)}
    assert sum(int(part.author.split()[0]) for part in counted) + len(named) == 3000


def test_variants_of_a_model_become_one_credit_before_anybody_is_left_out() -> None:
    changes = [f"converted{f'; varied, number {k}' if k else ''}" for k in range(100)]
    parts = [
        Part("MIT", f"a{a}", f"model {m}", change, 1) for a in (1, 2) for m in (1, 2) for change in changes
    ]
    whole = Licences(tuple(parts))
    models = bounded(whole, 1000)
    assert [(part.author, part.source, part.models) for part in models.parts] == [
        (f"a{a}", f"model {m}", 100) for a in (1, 2) for m in (1, 2)
    ]
    assert {part.changes for part in models.parts} == {"converted, and 99 more"}
    authors = bounded(whole, 400)
    assert [(part.author, part.source, part.models) for part in authors.parts] == [
        (f"a{a}", "model 1, and 1 more", 200) for a in (1, 2)
    ]
    page = "\n".join(licence_lines(whole))
    assert page.count("- a1 (200 models); model 1, model 2; licence MIT") == 1
    assert len(page) < 2000


@pytest.mark.parametrize(
    ("licence", "kind", "words"),
    [
        ("CC0-1.0", "free", []),
        ("Unlicense", "free", []),
        ("0BSD", "free", []),
        ("MIT-0", "free", []),
        ("CC-BY-3.0", "credit", ["Name the authors"]),
        ("CC-BY-3.0-DE", "credit", ["Name the authors"]),
        ("CC-BY-SA-3.0", "share-alike", ["Name the authors", "Share alike"]),
        ("CC-BY-NC-4.0", "restricted", ["Name the authors", "not for commercial use"]),
        ("CC-BY-NC-SA-4.0", "restricted", ["Share alike", "not for commercial use"]),
        ("CC-BY-ND-4.0", "restricted", ["no derivatives"]),
        ("CC-BY-NC-ND-4.0", "restricted", ["no derivatives", "not for commercial use"]),
        ("MIT", "notice", ["copyright notice"]),
        ("BSD-3-Clause", "notice", ["copyright notice"]),
        ("GPL-2.0-or-later", "copyleft", ["Copyleft"]),
        (UNKNOWN, "unknown", ["Warning", "nobody has said"]),
        ("mine alone", "other", ["Read this licence"]),
        ("MIT AND CC-BY-SA-3.0", "share-alike", ["Several licences", "Share alike"]),
        ("(CC0-1.0 OR MIT) AND CC-BY-NC-4.0", "restricted", ["Several licences", "not for commercial use"]),
        ("GPL-2.0-only WITH Classpath-exception-2.0", "copyleft", ["Copyleft"]),
    ],
)
def test_terms_say_what_a_licence_asks(licence: str, kind: str, words: list[str]) -> None:
    terms = terms_of(licence)
    assert terms.kind == kind
    assert [word for word in words if word not in terms.words] == []
    warnings = {
        "Share alike",
        "not for commercial use",
        "no derivatives",
        "nobody has said",
        "Copyleft",
    } - set(words)
    assert [word for word in warnings if word in terms.words] == []


def test_links_lead_to_the_text_of_a_licence_and_nowhere_else() -> None:
    assert terms_of("CC-BY-3.0").link == "https://spdx.org/licenses/CC-BY-3.0.html"
    for licence in (UNKNOWN, "MIT/../../evil", "MIT AND CC0-1.0", "cc-by-3.0) [x](y"):
        assert terms_of(licence).link == ""


def test_markup_of_strangers_is_shown_and_not_obeyed() -> None:
    evil = "<script>x</script> ![i](http:) `a` |b| *c* \\ & ~~d~~"
    shown = escaped(evil)
    assert "<" not in shown
    assert ">" not in shown
    for sign in "[]`|*~":
        assert shown.count(sign) == shown.count(f"\\{sign}")
    page = "\n".join(licence_lines(Licences((Part("MIT|<i>", evil, evil, evil, 1),))))
    assert "<" not in page
    assert not re.search(r"[\[\]`*~]", re.sub(r"\\.", "", page.partition("###")[2]).replace("**", ""))


def test_pages_begin_with_what_needs_most_care_and_name_everybody() -> None:
    licences = Licences(
        (
            Part("CC0-1.0", "Free", models=9),
            Part("CC-BY-3.0", "Credited", "a library", "moved", 1),
            Part(UNKNOWN, models=2),
        )
    )
    lines = licence_lines(licences)
    heads = [line for line in lines if line.startswith("### ")]
    assert heads == ["### unknown", "### CC-BY-3.0", "### CC0-1.0"]
    assert (
        "- Credited (1 model); a library; licence CC-BY-3.0, https://spdx.org/licenses/CC-BY-3.0.html; changes: moved"
        in lines
    )
    assert f"- {attribution(licences.parts[2])}" in lines
    assert "author not named (2 models)" in attribution(licences.parts[2])


def test_short_credits_name_the_most_and_count_the_others() -> None:
    assert short_credits(Licences()) == ""
    assert (
        short_credits(Licences((Part("CC0-1.0", "A"), Part("CC-BY-3.0")))) == ""
    )  # nothing owed; nobody named
    many = Licences(tuple(Part("CC-BY-3.0", f"author {k:03d}", models=k) for k in range(200)))
    text = short_credits(many)
    assert text.startswith("Learnt from models by author 199, author 198, ")
    named = text.count("author ")
    assert f", {200 - named} more (CC-BY-3.0)." in text
    assert len(text) < 500
