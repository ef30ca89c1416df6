"""Who made the models of a library: licences.jsonl, families of licences, variants and their parents."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from synthetic.layouts.licences import (
    LICENCES,
    UNKNOWN,
    Credit,
    LicenceError,
    LicenceFilter,
    licence_lines,
    origins,
)
from synthetic.layouts.permitted import licence_of, permitted
from synthetic.layouts.shapenet import LibraryError, Model, load_library, split_of

KEYS = ("cup/a", "cup/b", "cup/c", "pan/d")
SCOPIA = Credit("Scopia", "CC-BY-3.0", "a furniture library", "moved to the origin")


def library(root: Path, lines: str | bytes, keys: tuple[str, ...] = KEYS) -> Path:
    """A plain library of empty files with a licences.jsonl."""
    for key in keys:
        (root / key).parent.mkdir(parents=True, exist_ok=True)
        (root / f"{key}.obj").touch()
    (root / LICENCES).write_bytes(lines if isinstance(lines, bytes) else lines.encode())
    return root


def models_of(root: Path) -> dict[str, Model]:
    """The library's models by key."""
    return {model.key: model for model in load_library(root)}


def line(model: str, **facts: object) -> str:
    """A line of licences.jsonl."""
    usual = {"author": "A", "licence": "CC0-1.0", "source": "s", "changes": ""}
    return json.dumps({"model": model, **usual, **facts}) + "\n"


def test_models_know_their_credit_and_carry_it_to_other_processes(tmp_path: Path) -> None:
    credits = dict.fromkeys(KEYS, SCOPIA)
    models = models_of(library(tmp_path, licence_lines(credits)))
    assert {key: model.credit for key, model in models.items()} == credits
    model = models["cup/a"]
    assert Model.from_json(json.loads(json.dumps(model.as_json()))) == model


def test_a_library_without_the_file_states_nothing(tmp_path: Path) -> None:
    (library(tmp_path, "") / LICENCES).unlink()
    assert {model.credit for model in load_library(tmp_path)} == {None}
    assert permitted(load_library(tmp_path), None)[1] == []
    with pytest.raises(LibraryError, match=r"there are unknown \(4\)"):
        permitted(load_library(tmp_path), LicenceFilter.parse("cc0"))


def test_an_empty_file_makes_no_model_free(tmp_path: Path) -> None:
    models = load_library(library(tmp_path, ""))
    assert {licence_of(model) for model in models} == {UNKNOWN}
    (told,) = permitted(models, None)[1]
    assert "cup/a (unknown), cup/b (unknown), cup/c (unknown) and 1 more: no line" in told


@pytest.mark.parametrize(
    ("lines", "licence", "words"),
    [
        (line("cup/a", licence="Creative Commons"), UNKNOWN, "expected an SPDX licence"),
        (line("cup/a", licence="cc-by-3.0"), "CC-BY-3.0", ""),
        (line("cup/a", licence="Unknown"), UNKNOWN, ""),
        (line("cup/a", licence=3), UNKNOWN, "1 cannot, the first is line 1"),
        ("[" * 60_000 + "\n", UNKNOWN, "1 cannot, the first is line 1"),
        (line("cup/a", author="x" * 70_000), UNKNOWN, "1 cannot, the first is line 1"),
        (line("cup/a", author="x" * 2_000), "CC0-1.0", "author has more than 1000 characters"),
        (line("cup/a") + "{\n\n", "CC0-1.0", ""),
        ("\n" + line("cup/a") + line("cup/a"), "CC0-1.0", ""),
        (line("cup/a") + line("cup/a", author="B"), UNKNOWN, "two lines contradict"),
        (line("cup/b"), UNKNOWN, "no line of licences.jsonl is about it"),
        (b'\xff{"model": "cup/a"}\n', UNKNOWN, "1 cannot"),
    ],
)
def test_a_faulty_line_makes_its_model_unknown_and_is_told(
    tmp_path: Path, lines: str | bytes, licence: str, words: str
) -> None:
    model = models_of(library(tmp_path, lines))["cup/a"]
    assert model.credit
    assert (model.credit.licence, words in model.credit.fault, bool(words)) == (
        licence,
        True,
        bool(model.credit.fault),
    )
    told = [said for said in permitted([model], None)[1] if f"cup/a ({licence})" in said]
    assert len(told) == bool(words)


def test_texts_are_on_one_line_without_signs_that_steer_a_terminal(tmp_path: Path) -> None:
    models = models_of(library(tmp_path, line("cup/a", author="Zo\u00eb\n\x1b[31m\u202eevil")))
    assert next(model.credit.author for model in models.values() if model.credit) == "Zo\u00eb [31m evil"


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (library(tmp_path, "") / LICENCES).unlink()
    (tmp_path / LICENCES).mkdir()
    with pytest.raises(LibraryError, match=r"licences.jsonl: expected a file"):
        load_library(tmp_path)
    (tmp_path / LICENCES).rmdir()
    os.mkfifo(tmp_path / LICENCES)
    with pytest.raises(LibraryError, match=r"licences.jsonl: expected a file"):
        load_library(tmp_path)
    monkeypatch.setattr("synthetic.layouts.licences._LARGEST_FILE", 10)
    (tmp_path / LICENCES).unlink()
    with pytest.raises(LibraryError, match="expected at most 10 bytes"):
        load_library(library(tmp_path, line("cup/a")))


@pytest.mark.parametrize(
    ("words", "allowed", "refused"),
    [
        (
            "cc-by",
            ["CC-BY-3.0", "CC-BY-4.0", "CC-BY-3.0-DE"],
            ["CC-BY-SA-3.0", "CC-BY-NC-4.0", "CC0-1.0", UNKNOWN],
        ),
        ("CC0,mit", ["CC0-1.0", "MIT", "MIT-0"], ["MIT-CMU", "CC-BY-3.0"]),
        ("CC-BY-3.0", ["CC-BY-3.0"], ["CC-BY-4.0", "CC-BY-3.0-DE"]),
        (
            "cc-by-sa, gpl ",
            ["CC-BY-SA-3.0", "GPL-2.0-or-later", "GPL-3.0+"],
            ["LGPL-2.1", "AGPL-3.0", "CC-BY-4.0"],
        ),
        ("public-domain", ["Unlicense", "CC-PDDC"], ["CC0-1.0"]),
        ("bsd", ["BSD-3-Clause", "0BSD"], ["MIT"]),
        ("gpl", ["GPL-2.0-only WITH Classpath-exception-2.0"], []),
        ("cc0,mit", ["CC-BY-3.0 OR MIT", "CC0-1.0 AND MIT", "CC0-1.0 AND (MIT OR GPL-2.0)"], []),
        (
            "cc0,mit",
            [],
            ["CC-BY-3.0 AND MIT", "CC0-1.0 AND (CC-BY-3.0 OR GPL-2.0)", "MIT AND CC0-1.0 AND GPL-2.0"],
        ),
        ("unknown", [UNKNOWN], ["CC0-1.0"]),
    ],
)
def test_families_and_identifiers_choose(words: str, allowed: list[str], refused: list[str]) -> None:
    chosen = LicenceFilter.parse(words)
    assert [licence for licence in allowed if not chosen.allows(licence)] == []
    assert [licence for licence in refused if chosen.allows(licence)] == []


@pytest.mark.parametrize("words", ["ccby", "", " , ", "cc0,free", "CC-BY-9.0", "x" * 500])
def test_unknown_words_are_one_line_with_what_there_is(words: str) -> None:
    with pytest.raises(LicenceError, match=r"expected families \(cc0, public-domain, cc-by,.*found"):
        LicenceFilter.parse(words)


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    lines = line("cup/a") + line("cup/b", licence="CC-BY-SA-3.0") + line("cup/c", licence="CC-BY-SA-3.0")
    models = load_library(library(tmp_path, lines))
    chosen, said = permitted(models, LicenceFilter.parse("cc0,cc-by"))
    assert [model.key for model in chosen] == ["cup/a"]
    assert said[-1] == "--licences leaves 3 of 4 models out: CC-BY-SA-3.0 (2), unknown (1)"
    with pytest.raises(LibraryError, match=r"there are CC-BY-SA-3.0 \(2\), CC0-1.0 \(1\), unknown \(1\)"):
        permitted(models, LicenceFilter.parse("gpl"))


def test_variants_stand_on_the_side_of_the_model_they_go_back_to(tmp_path: Path) -> None:
    bases = [f"cup/{number}" for number in range(40)]
    variants = {f"{base}-v0{turn}": base for base in bases for turn in (1, 2)}
    variants |= {f"{base}-v01-v01": f"{base}-v01" for base in bases}
    lines = "".join(line(key, parent=variants.get(key, "")) for key in (*bases, *variants))
    models = models_of(library(tmp_path, lines, (*bases, *variants)))
    assert {key: model.parent for key, model in models.items()} == {
        **dict.fromkeys(bases, ""),
        **{key: "-v".join(key.split("-v")[:1]) for key in variants},
    }
    sides = {key: split_of(key, model.parent) for key, model in models.items()}
    assert {sides[base] for base in bases} == {"train", "test"}
    assert [key for key, model in models.items() if sides[key] != sides[model.parent or key]] == []
    assert any(split_of(key) != sides[key] for key in variants)  # by their own names some would stray


def test_parents_that_are_missing_or_go_in_a_circle_are_told(tmp_path: Path) -> None:
    parents = {"cup/a": "cup/b", "cup/b": "cup/a", "cup/c": "cup/a", "pan/d": "pan/gone"}
    lines = "".join(line(key, parent=parent) for key, parent in parents.items())
    models = models_of(library(tmp_path, lines))
    assert {key: model.parent for key, model in models.items()} == {
        "cup/a": "",
        "cup/b": "cup/a",
        "cup/c": "cup/a",
        "pan/d": "pan/gone",
    }
    assert permitted(list(models.values()), None)[1] == [
        "licences.jsonl: cup/a (CC0-1.0): its parents go in a circle",
        "licences.jsonl: pan/d (CC0-1.0): its parent is not in the library",
    ]


def test_many_kinds_of_faults_are_counted(tmp_path: Path) -> None:
    keys = tuple(f"cup/{number}" for number in range(15))
    lines = "".join(line(key, licence=f"free {key}") for key in keys)
    said = permitted(load_library(library(tmp_path, lines, keys)), None)[1]
    assert len(said) == 11
    assert said[-1] == "licences.jsonl: 5 more kinds of faults"


def test_a_chain_leads_through_models_that_the_library_lacks(tmp_path: Path) -> None:
    lines = line("cup/a", parent="cup/gone") + line("cup/gone", parent="cup/b")
    assert models_of(library(tmp_path, lines))["cup/a"].parent == "cup/b"


def test_a_long_chain_is_followed_once() -> None:
    length = 100_000
    credits = {f"c/{k}": Credit("", "", "", "", f"c/{k - 1}" if k else "") for k in range(length)}
    assert set(origins(credits).values()) == {"c/0"}
    assert len(origins(credits)) == length - 1
