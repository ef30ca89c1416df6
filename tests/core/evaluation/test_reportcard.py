"""The report card: the rule of its badge, its pages, figures of objects of the model that comes along, going on."""

import json
import re
from xml.etree import ElementTree

import pytest
import torch
from PIL import Image

from gp3d_core import pretrained
from gp3d_core.cli.main import main
from gp3d_core.evaluation.report.folder import EvaluationFolder
from gp3d_core.evaluation.reportcard import measure
from gp3d_core.evaluation.reportcard.badge import badge_svg, geometry_badge, reasons_against
from gp3d_core.evaluation.reportcard.measure import MEASURES, measure_cards, page_name
from gp3d_core.evaluation.reportcard.pages import write_cards, write_copy
from gp3d_core.metrics.score import Score
from gp3d_core.pretrained import pretrained_path
from gp3d_core.pretrained.report_cards import card_of, folder_of, report_cards, weights_digest
from gp3d_core.snapshots.snapshot import load_snapshot, save_snapshot
from tests.core.cli.test_cli import snapshot  # noqa: F401  (a fixture)
from tests.support.tiny_dataset import CLASSES
from tests.support.truth_dataset import write_truth

GOOD = {
    "geometry/silhouette_iou": {"value": 0.9, "real": 0.95},
    "geometry/depth_error": {"value": 0.04, "real": 0.04},
    "card/never_seen": {"value": 0.1},
    "card/disagreement": {"value": 0.01},
    "card/no_mesh": {"value": 0.0},
    "card/thin_parts": {"value": 0.9},
    "card/thin_parts_kept": {"value": 1.0},
    "card/watertight": {"value": 1.0},
}


@pytest.mark.parametrize(
    ("metric", "fair", "rough"),
    [
        ("card/never_seen", 0.16, 0.36),
        ("card/disagreement", 0.021, 0.041),
        ("card/no_mesh", 0.01, 0.26),
        ("card/thin_parts", 0.49, 0.24),
        ("card/thin_parts_kept", 0.89, 0.59),
        ("card/watertight", 0.94, 0.49),
        ("geometry/silhouette_iou", 0.85, 0.7),
        ("geometry/depth_error", 0.061, 0.11),
    ],
)
def test_every_measure_can_take_a_badge_away(metric, fair, rough):
    assert geometry_badge(GOOD) == "good"
    for value, badge in ((fair, "fair"), (rough, "rough")):
        found = GOOD | {metric: GOOD[metric] | {"value": value}}
        assert geometry_badge(found) == badge
        assert len(reasons_against(found, "good")) == 1
    others = {name: own for name, own in GOOD.items() if name != metric}
    assert geometry_badge(others) == (None if metric == "geometry/silhouette_iou" else "good")


@pytest.mark.parametrize(("error", "badge"), [(0.011, "good"), (0.02, "fair"), (0.024, "rough")])
def test_balls_whose_real_ones_hardly_differ_can_be_good(error, badge):
    found = GOOD | {"geometry/depth_error": {"value": error, "real": 0.001}}
    assert geometry_badge(found) == badge


@pytest.mark.parametrize("badge", ["good", "fair", "rough", None])
def test_a_badge_is_a_picture_that_says_its_word(badge):
    texts = [node.text for node in ElementTree.fromstring(badge_svg(badge)).iter() if node.text]
    assert texts == [f"geometry: {badge or 'not measured'}", "geometry", badge or "not measured"]


def test_pages_are_called_by_wordnet_or_number():
    assert page_name({"wnid": "n03063599", "label": 3}) == "n03063599"
    assert page_name({"wnid": "../x", "label": 3}) == "0003"
    assert page_name({"label": 12}) == "0012"


def test_pages_show_badges_and_escape_names(tmp_path):
    folder = EvaluationFolder(tmp_path)
    folder.claim(
        {"snapshot": "m<1>.safetensors", "snapshot_sha256": "ab" * 32, "dataset": "views", "seed": 0}
    )
    name, other = "mug <b>&", "cup"
    (tmp_path / "cards").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "cards" / "0000.png")
    scores = [
        Score(
            metric=metric,
            value=own["value"],
            n=2,
            facts={
                "what": "a <measure>",
                "pages": {name: "0000", other: "0001"},
                "per_class": {name: own["value"], other: None},
                "floor_per_class": {name: own.get("real")},
            },
        )
        for metric, own in GOOD.items()
    ]
    folder.keep("card", {}, scores)
    assert write_cards(folder) == tmp_path / "cards" / "index.html"
    page, index = ((tmp_path / "cards" / f).read_text() for f in ("0000.html", "index.html"))
    assert "mug &lt;b&gt;&amp;" in page
    assert "<b>" not in page + index
    assert ">good<" in page
    assert page.count("data:image/png;base64") == 1
    assert "No badge" in (tmp_path / "cards" / "0001.html").read_text()
    assert re.findall(r'href="(\w+\.html)"', index) == ["0000.html", "0001.html"]
    assert "1 good, 1 without a badge" in index
    assert not re.search(r'(src|href)="(?!data:|\w+\.html)', page + index)  # nothing from elsewhere
    record = json.loads((tmp_path / "cards" / "cards.json").read_text())
    assert record["classes"]["0000"]["badge"] == "good"
    assert record["classes"]["0000"]["measures"] == GOOD
    assert record["snapshot_sha256"] == "ab" * 32


def test_a_model_brings_the_cards_of_its_weights(snapshot, tmp_path, monkeypatch):  # noqa: F811
    """Whatever its header says of badges; other weights have none."""
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path)
    model = tmp_path / "model.safetensors"
    model.write_bytes(snapshot.read_bytes())
    assert report_cards(model) is None
    folder = EvaluationFolder(tmp_path / "scores")
    folder.claim({"snapshot": "model.safetensors", "snapshot_sha256": "ab" * 32, "dataset": "views"})
    scores = [
        Score(
            metric=metric,
            value=own["value"],
            n=2,
            facts={
                "pages": {"coffee mug": "n03063599"},
                "per_class": {"coffee mug": own["value"] - 1e-9},
                "floor_per_class": {"coffee mug": own.get("real")},
            },
        )
        for metric, own in GOOD.items()
    ]
    folder.keep("card", {}, scores)
    out = folder_of("box")
    out.mkdir(parents=True)
    assert write_copy(folder, out, {"n03063599"}, weights_digest(model)) == 1
    assert report_cards(model) == out
    found = card_of(model, {"wnid": "n03063599", "name": "x"})
    assert found["badge"] == "good"
    assert found["measures"] == GOOD
    assert 'src="n03063599.webp"' in (tmp_path / found["page"]).read_text()
    assert card_of(model, {"wnid": "n0", "name": "cup"}) is None
    loaded = load_snapshot(model)
    badged = [{**one, "badge": "good"} for one in loaded.classes]
    save_snapshot(model, loaded.generator, loaded.config, badged, loaded.nimg, "a licence")
    assert report_cards(model) == out
    with torch.no_grad():
        next(loaded.generator.parameters()).add_(1)
    save_snapshot(model, loaded.generator, loaded.config, badged, loaded.nimg, "a licence")
    assert report_cards(model) is None


def test_without_cards_there_are_no_pages(tmp_path):
    folder = EvaluationFolder(tmp_path)
    folder.claim({"snapshot": "m"})
    assert write_cards(folder) is None
    assert not (tmp_path / "cards").exists()


@pytest.mark.slow
def test_objects_of_the_model_are_examined_once(tmp_path, monkeypatch):
    model, truth = load_snapshot(pretrained_path()), write_truth(tmp_path / "views", resolution=64)
    scores = {s.metric: s for s in measure_cards(model, truth, n=1, seed=0, out=tmp_path, truncation=0.7)}
    assert set(scores) == {f"card/{name}" for name in MEASURES}
    names = {record["name"] for record in CLASSES}
    for score in scores.values():
        assert set(score.facts["per_class"]) == names
    assert scores["card/no_mesh"].value == 0
    assert 0 < scores["card/never_seen"].value < 0.5
    assert 0 < scores["card/well_supervised"].value < 1 - scores["card/never_seen"].value
    assert 0 < scores["card/disagreement"].value < scores["card/disagreement_95"].value < 0.1
    assert scores["card/thin_parts"].facts["per_class"] == dict.fromkeys(names)  # ellipsoids have none
    for page in scores["card/never_seen"].facts["pages"].values():
        assert Image.open(tmp_path / "cards" / f"{page}.png").width > 800

    def never(*_):
        raise AssertionError("measured again")

    monkeypatch.setattr(measure, "examined", never)
    again = measure_cards(model, truth, n=1, seed=0, out=tmp_path, truncation=0.7)
    assert [s.as_json() for s in again] == [s.as_json() for s in scores.values()]
    with pytest.raises(AssertionError, match="measured again"):
        measure_cards(model, truth, n=1, seed=1, out=tmp_path, truncation=0.7)


def test_the_command_writes_the_report_card(snapshot, tmp_path, capsys):  # noqa: F811
    truth = write_truth(tmp_path / "views", resolution=load_snapshot(snapshot).config.training.resolution)
    command = [
        "evaluate",
        str(snapshot),
        str(truth),
        "--report",
        "--shapes",
        "2",
        "--out",
        str(tmp_path / "out"),
    ]
    assert main(command) == 0
    printed = capsys.readouterr().out.split()
    assert printed[-1] == str(tmp_path / "out" / "cards" / "index.html")
    assert {"card/never_seen", "geometry/depth_error"} <= set(printed)
    assert "fid2k" not in printed
    report = (tmp_path / "out" / "report.html").read_text()
    assert 'href="cards/index.html"' in report
    assert main(["evaluate", "--meshes", str(truth), "--truth", str(truth), "--report", "--out", "x"]) == 2
    assert "--meshes goes without SNAPSHOT" in capsys.readouterr().err
    ignored = ["--samples", "7", "--truncation", "0.5", "--cache", "x"]
    assert main(["evaluate", "--meshes", str(truth), "--truth", str(truth), *ignored, "--out", "x"]) == 2
    assert "--samples, --cache, --truncation: not for --meshes" in capsys.readouterr().err
