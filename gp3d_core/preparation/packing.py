"""`gp3d data pack`: photographs to a data set without depth; the same command again goes on.

What is written is a function of source and settings: neither the number of workers, nor their order, nor an
interruption changes a byte.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from tqdm import tqdm

import gp3d_core
from gp3d_core.atomic import replacing, write_json
from gp3d_core.datasets.archive import FORMAT, HEADER, UNFINISHED, VERSION, Archive, depth_name, mask_name
from gp3d_core.datasets.decoding import Limits, PictureError, decode, pixel_hash
from gp3d_core.preparation.dataset_card import UNSTATED, read_card, record_step, save_card
from gp3d_core.preparation.duplicates import exact_groups, look_of, near_pairs, without_exact
from gp3d_core.preparation.framing import Fit, frame, place
from gp3d_core.preparation.maps.masks import KIND, place_mask, save_mask
from gp3d_core.preparation.maps.subject import SubjectMasks, subject_frame, subject_record
from gp3d_core.preparation.pack_folder import (
    DUPLICATES,
    PackedFolder,
    PackError,
    compare,
    read_facts,
    zip_folder,
)
from gp3d_core.preparation.sources.layouts import Listing
from gp3d_core.preparation.sources.naming import Names, class_records, name_all
from gp3d_core.preparation.sources.pictures import Source, listing_hash
from gp3d_core.preparation.sources.trees import Reader
from gp3d_core.signals import Interruption

_CHUNK = 8  # pictures that a worker takes at a time


@dataclass(frozen=True)
class PackSettings:
    """Everything that decides what a packed picture looks like and which are taken.

    resolution: pixels a side. fit: framing.frame. min_side: least pixels of the side that becomes `resolution`.
    megapixels: most millions of pixels that are decoded. imagenet_names: naming.name_all.
    """

    resolution: int
    fit: Fit = "crop"
    min_side: int = 0
    megapixels: float = 64
    imagenet_names: bool = False


@dataclass
class PackReport:
    """What was done: pictures `packed` now and `kept` from before, `failures` by name, whether it was `stopped`.

    kind: the source's layout. left_out: its other files. enlarged: pictures smaller than the resolution. exact, near:
    groups of equal pictures and pairs of similar ones.
    """

    kind: str
    left_out: dict[str, int]
    packed: int = 0
    kept: int = 0
    enlarged: int = 0
    classes: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    exact: list[list[str]] = field(default_factory=list)
    near: list[tuple[str, str, int]] = field(default_factory=list)
    stopped: bool = False


@dataclass(frozen=True)
class _Job:
    """What a worker must know besides the pictures of its turn."""

    source: Source
    target: Path
    settings: PackSettings
    subject: SubjectMasks | None = None


def pack(
    source: Source,
    target: Path,
    settings: PackSettings,
    *,
    subject: SubjectMasks | None = None,
    license: str | None = None,
    workers: int = 1,
    on_error: Literal["skip", "stop"] = "skip",
    interruption: Interruption | None = None,
) -> PackReport:
    """Packs the pictures of `source` into the folder or zip `target`, going on where an earlier call ended.

    With `subject` pictures are cut to what its masks show, which are kept beside the images (docs/dataset.md). A
    picture that cannot be used is skipped and named, or ends the work (`on_error`). Raises SourceError for a source,
    PackError for a target that does not fit, or when nothing could be used; what was packed stays.
    """
    _keep_apart(source.path, target)
    listing = source.list()
    names = name_all(listing, imagenet_names=settings.imagenet_names)
    facts = {
        "settings": asdict(settings) | ({} if subject is None else {"subject": subject_record(subject)}),
        "source": {
            "name": source.path.resolve().name,
            "kind": listing.kind,
            "image_column": source.image_column,
            "listing": listing_hash(listing),
        },
    }
    zipped = target.suffix.lower() == ".zip"
    folder = PackedFolder(target.with_name(f"{target.name}.parts") if zipped else target)
    if zipped and target.exists():
        report = _already(target, facts, listing)
        if folder.path.exists():  # it was killed before it could remove them
            folder.claim(facts)
            shutil.rmtree(folder.path)
        return report
    folder.claim(facts)
    report = _work(
        _Job(source, folder.path, settings, subject), folder, listing, names, workers, on_error, interruption
    )
    if report.stopped:
        return report
    if report.packed or not folder.finished:
        _finish(folder, listing, names, facts, report, target.stem if zipped else None, license)
    if zipped:
        zip_folder(folder.path, target)
        shutil.rmtree(folder.path)
    return report


def _keep_apart(source: Path, target: Path) -> None:
    """PackError when source and target lie in one another."""
    here, there = source.resolve(), target.resolve()
    if here == there or here in there.parents or there in here.parents:
        raise PackError(f"{target} and the source {source} lie in one another; choose a place outside")


def _already(target: Path, facts: dict[str, Any], listing: Listing) -> PackReport:
    """The report on a zip that was packed to the end with the same `facts`; PackError for any other."""
    archive = Archive(target)
    if UNFINISHED not in archive.sizes:
        raise PackError(f"{target} was not made by `gp3d data pack`; choose another place")
    compare(read_facts(archive.read(UNFINISHED), f"{target}/{UNFINISHED}"), facts, target)
    return PackReport(listing.kind, listing.left_out, kept=len(listing.entries))


def _work(
    job: _Job,
    folder: PackedFolder,
    listing: Listing,
    names: Names,
    workers: int,
    on_error: str,
    interruption: Interruption | None,
) -> PackReport:
    """Packs what is missing in `folder`."""
    before = folder.origins()
    folder.forget_leftovers(sorted({name.rpartition("/")[0] for name in names.images} - {""}))
    report = PackReport(listing.kind, listing.left_out, failures=dict(listing.refused))
    tasks = []
    for entry, name in zip(listing.entries, names.images, strict=True):
        known = before.get(name)
        files = [name] if job.subject is None else [name, mask_name(name)]
        there = all((folder.path / file).exists() for file in files)
        if known and known.get("bytes") == entry.size and there:
            report.kept += 1
        else:
            tasks.append((entry.key, name, entry.size))
    if report.failures and on_error == "stop":
        key, reason = min(report.failures.items())
        raise PackError(f"{job.source.path}: {key} {reason}")
    total = len(listing.entries)
    with tqdm(total=total, initial=report.kept, desc="packing", unit="img", disable=None) as bar:
        for results in _run(job, tasks, workers, interruption):
            rows = [row for row in results if "reason" not in row]
            folder.append(rows)
            report.packed += len(rows)
            report.failures |= {row["source"]: row["reason"] for row in results if "reason" in row}
            bar.update(len(results))
            if on_error == "stop" and len(rows) < len(results):
                folder.write_failures(report.failures)
                key, reason = next((r["source"], r["reason"]) for r in results if "reason" in r)
                raise PackError(
                    f"{job.source.path}: {key} {reason}; mend or remove it, or `on_error` skip; "
                    "the same command goes on"
                )
    report.stopped = interruption is not None and interruption.requested
    folder.write_failures(report.failures)
    return report


def _run(
    job: _Job, tasks: Sequence[tuple[str, str, int]], workers: int, interruption: Interruption | None
) -> Iterator[list[dict[str, Any]]]:
    """Results of the `tasks` in their order, chunk by chunk, until an interruption."""
    chunks = deque(tasks[i : i + _CHUNK] for i in range(0, len(tasks), _CHUNK))

    def stopped() -> bool:
        return interruption is not None and interruption.requested

    if workers == 1 or len(chunks) < 2:
        while chunks and not stopped():
            yield pack_chunk(job, chunks.popleft())
        return
    pending: deque[Future[list[dict[str, Any]]]] = deque()
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _serve_leader) as pool:
        try:
            while (chunks and not stopped()) or pending:
                while chunks and len(pending) < 2 * workers and not stopped():
                    pending.append(pool.submit(pack_chunk, job, chunks.popleft()))
                yield pending.popleft().result()
        except BrokenProcessPool as error:
            raise PackError(
                "a worker was killed, perhaps for want of memory: take fewer `workers`; the same command goes on"
            ) from error
        finally:
            for future in pending:
                future.cancel()


def _serve_leader() -> None:
    """Leaves Ctrl-C, which reaches the whole group, to the process that leads; ends with it, however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    leader = multiprocessing.parent_process()

    def follow() -> None:
        if leader is not None:
            leader.join()
            os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


@lru_cache(maxsize=1)
def _reader(source: Source) -> Reader:
    return source.open()


def pack_chunk(job: _Job, tasks: Sequence[tuple[str, str, int]]) -> list[dict[str, Any]]:
    """Packs pictures in this process: of each what origins.jsonl says, or its source and the reason why not."""
    results = []
    for key, name, size in tasks:
        try:
            results.append({"image": name, "source": key, "bytes": size, **_pack_one(job, key, name)})
        except PictureError as error:
            results.append({"source": key, "reason": str(error)})
    return results


def _pack_one(job: _Job, key: str, name: str) -> dict[str, Any]:
    settings = job.settings
    limits = Limits(int(settings.megapixels * 1e6), raised_with="max_megapixels")
    image = decode(_reader(job.source).read(key), limits)
    width, height = image.size
    mask = None if job.subject is None else job.subject.mask(key, image)
    if mask is None:
        where = frame(width, height, settings.resolution, settings.fit)
    else:
        where = subject_frame(mask, settings.resolution, settings.fit)
    left, top, right, bottom = where.source
    if max(right - left, bottom - top) < settings.min_side:
        what = f"has {width}x{height}" if mask is None else f"has a subject of {right - left}x{bottom - top}"
        raise PictureError(f"{what} pixels, less than {settings.min_side} (`min_side`)")
    packed = place(image, where)
    for stale in (depth_name(name), mask_name(name)):  # of what the picture was before
        (job.target / stale).unlink(missing_ok=True)
    if mask is not None:
        save_mask(job.target / mask_name(name), place_mask(mask, where))
    with replacing(job.target / name) as temporary:
        packed.save(temporary, format="PNG")
    return {
        "width": width,
        "height": height,
        "box": list(where.source),
        "scale": round(where.scale, 6),
        "pixels": pixel_hash(image),
        "look": f"{look_of(packed):016x}",
    }


def _finish(
    folder: PackedFolder,
    listing: Listing,
    names: Names,
    facts: dict[str, Any],
    report: PackReport,
    title: str | None,
    license: str | None,
) -> None:
    """Writes everything that speaks of the whole; the index last."""
    known = folder.origins()
    used = []
    for entry, name in zip(listing.entries, names.images, strict=True):
        if entry.key in report.failures:  # it may have been packed before it was damaged
            for file in (name, depth_name(name), mask_name(name)):
                (folder.path / file).unlink(missing_ok=True)
        elif name in known:
            used.append((entry, name))
    if not used:
        key, reason = min(report.failures.items())
        raise PackError(f"none of {len(report.failures)} pictures could be used; {key} {reason}")
    rows = sorted((known[name] for _, name in used), key=lambda row: row["image"])
    folder.write_origins(rows)
    report.enlarged = sum(row["scale"] > 1 for row in rows)
    report.exact = exact_groups({row["image"]: row["pixels"] for row in rows})
    near = near_pairs({row["image"]: int(row["look"], 16) for row in rows})
    report.near = without_exact(near, report.exact)
    write_json(folder.path / DUPLICATES, {"exact": report.exact, "near": report.near})
    classes, label_of = class_records(names, [entry.label for entry, _ in used])
    report.classes = len(classes)
    license = license or UNSTATED
    program = {"program": "gp3d data pack", "gp3d": gp3d_core.__version__, **facts}
    card = read_card(folder.path) | {"title": title or folder.path.resolve().name, "license": license}
    counts = {"images": len(rows), "classes": len(classes), "refused": len(report.failures)}
    counts |= {"enlarged": report.enlarged, "duplicates": sum(len(group) - 1 for group in report.exact)}
    save_card(folder.path, card)
    record_step(folder.path, "pack", program | counts)
    if "subject" in facts["settings"]:
        made_by = {key: value for key, value in facts["settings"]["subject"].items() if key != "margin"}
        record_step(folder.path, KIND.step, made_by)
    header = {
        "format": FORMAT,
        "version": VERSION,
        "resolution": facts["settings"]["resolution"],
        "classes": classes,
        "labels": sorted([name, label_of[e.label]] for e, name in used if e.label is not None),
        "license": license,
        "generator": program,
    }
    write_json(folder.path / HEADER, header)
