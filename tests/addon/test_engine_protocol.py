"""The protocol of the engine as a table: what is known, what arrives -> what is known then, sent and reported."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

NOW = 100.0
FACTS = {"event": "ready", "device": "cpu", "classes": 1, "snapshot": {"name": "box", "sha256": "0123"}}
MUG = {"name": "coffee mug", "imagenet_index": 504, "wnid": "n03063599", "badge": "good"}


@pytest.fixture(scope="module")
def protocol(parts):
    return parts("engine.protocol")


@pytest.fixture(scope="module")
def job(parts):
    return parts("engine.job").Job("mesh", {"class": "n03063599", "seed": 1, "grid": 128})


def follow(protocol, talk, *messages: dict[str, Any]):
    """The conversation after these messages."""
    for message in messages:
        talk = protocol.received(talk, message, NOW).status
    return talk


@pytest.fixture(scope="module")
def started(protocol):
    return protocol.opened(protocol.Conversation(), NOW, False).status


@pytest.fixture(scope="module")
def ready(protocol, started):
    answer = {"event": "result", "id": "2", "classes": [MUG]}
    return follow(protocol, started, {"event": "hello", "protocol": 1, "gp3d": "9"}, FACTS, answer)


@pytest.fixture(scope="module")
def busy(protocol, ready, job):
    """With one job at work and one that waits."""
    return protocol.submitted(ready, [job, job], NOW).status


def test_start_greets_and_asks_for_classes(protocol, started, ready):
    assert protocol.opened(protocol.Conversation(), NOW, False).sends == (
        {"id": "1", "op": "hello", "protocol": 1},
    )
    assert started.state == "STARTING"
    assert protocol.received(started, FACTS, NOW).sends == ({"id": "2", "op": "classes"},)
    assert (ready.state, ready.version, ready.ready.sha256, ready.ready.classes) == ("READY", "9", "0123", 1)
    assert [(entry.name, entry.badge) for entry in ready.classes] == [("coffee mug", "good")]


def test_jobs_are_sent_one_by_one(protocol, ready, started, job, busy):
    step = protocol.submitted(ready, [job, job], NOW)
    assert step.sends == ({"id": "3", "op": "mesh", **job.request},)
    assert (busy.state, len(busy.waiting), busy.current.sent) == ("BUSY", 1, NOW)
    assert protocol.submitted(started, [job], NOW).sends == ()  # waits for a model
    done = protocol.received(busy, {"event": "result", "id": "3"}, NOW)
    assert [(event.kind, event.job.request) for event in done.events] == [("done", job.request)]
    assert (done.status.current, done.status.finished) == (None, 1)
    assert protocol.next_job(done.status, NOW).sends[0]["id"] == "4"


ENDINGS = [  # message to a busy engine -> kinds of events, code of the problem, whether the engine is ended
    ({"event": "progress", "id": "3", "stage": "density", "done": 1, "total": 2}, [], None, False),
    ({"event": "progress", "id": "77", "stage": "density"}, [], None, False),
    ({"event": "news", "id": "3"}, [], None, False),
    ({"event": "result", "id": "2"}, ["ready"], None, False),
    ({"event": "result", "id": "77"}, [], None, False),
    ({"event": "error", "id": "3", "code": "E_CANCELLED"}, ["cancelled"], None, False),
    ({"event": "error", "id": "3", "code": "E_CLASS"}, ["failed"], "E_CLASS", False),
    ({"event": "error", "id": "1", "code": "E_VERSION"}, ["failed", "failed"], "E_VERSION", True),
    ({"event": "error", "id": None, "code": "E_DEVICE"}, [], "E_DEVICE", False),
    ({"event": "error", "id": None, "code": "E_CANCELLED"}, [], None, False),
    ({"event": "hello", "protocol": 2}, ["failed", "failed"], "E_VERSION", True),
    ({"event": "bye", "reason": "idle"}, ["failed", "failed"], "E_CRASHED", True),
    ({"event": "garbage"}, [], None, False),
]


@pytest.mark.parametrize(("message", "kinds", "code", "end"), ENDINGS)
def test_what_a_message_to_a_busy_session_does(protocol, busy, message, kinds, code, end):
    step = protocol.received(busy, message, NOW + 1)
    assert [event.kind for event in step.events] == kinds
    assert (step.status.problem and step.status.problem.code) == code
    assert step.end == end
    assert step.status.running != end
    assert step.status.last_contact == NOW + 1
    assert busy.problem is None  # what was known before is not touched


def test_progress_moves_the_shares(protocol, busy):
    message = {"event": "progress", "id": "3", "stage": "density", "done": 1, "total": 2}
    talk = follow(protocol, busy, message)
    assert talk.overall == pytest.approx(0.05 + 0.15 / 2)
    assert follow(protocol, talk, {**message, "stage": "planes"}).overall == talk.overall  # never back
    assert talk.seconds(NOW + 3) == 3


def test_memory_halves_the_grid_and_goes_first(protocol, busy, job):
    step = protocol.received(busy, {"event": "error", "id": "3", "code": "E_OOM"}, NOW)
    assert step.events == ()
    again = step.status.waiting[0]
    assert (again.request["grid"], len(step.status.waiting), step.status.finished) == (64, 2, 0)
    assert "64 instead of 128" in again.note
    assert job.request["grid"] == 128
    coarse = protocol.submitted(
        replace(busy, current=None, waiting=()), [job.asking({"grid": 32})], NOW
    ).status
    failed = protocol.received(coarse, {"event": "error", "id": coarse.job_id, "code": "E_OOM"}, NOW)
    assert [event.kind for event in failed.events] == ["failed"]


def test_cancel_drops_what_waits_and_asks_for_the_rest(protocol, busy, started):
    step = protocol.cancelled(busy, NOW)
    assert [event.kind for event in step.events] == ["cancelled"]
    assert step.sends == ({"id": "4", "op": "cancel", "target": "3"},)
    assert protocol.cancelled(step.status, NOW).sends == ()  # once is enough
    assert not protocol.checked(step.status, NOW + 4, 30, 4).end
    late = protocol.checked(step.status, NOW + 4.1, 30, 4)
    assert ([event.kind for event in late.events], late.end, late.status.problem) == (
        ["cancelled"],
        True,
        None,
    )
    assert protocol.cancelled(started, NOW).end  # nothing to wait for in an engine that starts


def test_silence_is_a_problem_at_work_only(protocol, busy, ready):
    assert not protocol.checked(ready, NOW + 1000, 30, 4).end
    assert not protocol.checked(busy, NOW + 30, 30, 4).end
    silent = protocol.checked(busy, NOW + 30.1, 30, 4)
    assert (silent.end, silent.status.problem.code, silent.status.state) == (True, "E_SILENT", "OFF")


def test_engine_at_rest_may_leave(protocol, ready):
    step = protocol.received(ready, {"event": "bye", "reason": "idle"}, NOW)
    assert [event.kind for event in step.events] == ["stopped"]
    assert (step.status.state, step.status.problem, step.end) == ("OFF", None, True)
    assert step.status.classes == ready.classes


def test_without_a_model_jobs_fail_and_the_engine_stays(protocol, started, job):
    waiting = protocol.submitted(started, [job], NOW).status
    step = protocol.received(waiting, {"event": "error", "code": "E_NO_WEIGHTS", "message": "none"}, NOW)
    assert [event.kind for event in step.events] == ["failed"]
    assert (step.status.state, step.status.problem.button, step.end) == ("EMPTY", "CHOOSE_SNAPSHOT", False)


def test_garbage_is_endured_for_a_while(protocol, busy):
    talk = follow(protocol, busy, *20 * [{"event": "garbage"}])
    assert talk.running
    step = protocol.received(talk, {"event": "garbage"}, NOW)
    assert (step.status.problem.code, step.end) == ("E_GARBAGE", True)


def test_exit_is_told_by_its_code(protocol, busy):
    step = protocol.exited(busy, 3, ["", "ValueError: the fault", ""])
    assert (step.status.problem.code, step.status.problem.hint) == ("E_CRASHED", "ValueError: the fault")
    assert "killed from outside" in protocol.exited(busy, -9, []).status.problem.sentence


def test_close_says_so_and_forgets_jobs(protocol, busy):
    step = protocol.closed(busy)
    assert step.sends == ({"id": "4", "op": "shutdown"},)
    assert (step.status.state, step.status.current, step.status.waiting) == ("OFF", None, ())
    assert protocol.closed(step.status).sends == ()


def test_a_job_names_its_model_to_engines_that_know_several(protocol, parts, started, ready):
    jobs = parts("engine.job")
    again = jobs.Job("mesh", {"class": "n02374451"}, model="0123abcd")
    (message,) = protocol.submitted(ready, [again], NOW).sends  # an engine of before lists no models
    assert "model" not in message
    facts = {
        **FACTS,
        "models": [{"name": "box"}, {"name": "zoo", "license": "CC-BY-SA-4.0", "credits": "by Ada"}],
    }
    answer = {"event": "result", "id": "2", "classes": [MUG]}
    newer = follow(protocol, started, {"event": "hello", "protocol": 1, "gp3d": "9"}, facts, answer)
    assert [one.credits for one in newer.ready.models] == ["", "by Ada"]
    (message,) = protocol.submitted(newer, [again], NOW).sends
    assert message["model"] == "0123abcd"
    assert "model" not in again.request
    assert again.asking({"grid": 64}).model == "0123abcd"
    (message,) = protocol.submitted(newer, [jobs.Job("mesh", {})], NOW).sends
    assert "model" not in message


@pytest.mark.parametrize(
    ("recipe", "model"),
    [
        ({"recipe": {"snapshot": "box", "snapshot_sha256": "ab" * 32}}, "ab" * 32),
        ({"recipe": {"snapshot": "mine.safetensors", "snapshot_sha256": "ab" * 32}}, ""),
        ({"recipe": {}, "model": {"name": "zoo", "sha256": "0123456789ab"}}, "0123456789ab"),
        ({"recipe": {}, "model": {"name": "sample: x"}, "request": {"sample": "mug"}}, ""),
        ({"recipe": {}}, ""),
    ],
)
def test_only_pretrained_models_are_asked_for_again(parts, recipe, model):
    assert parts("recipe").pretrained_model(recipe) == model
