"""The commands `gp3d data …`: what is done to a data set before anything is trained on it."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gp3d_core.cli.arguments import (
    UsageError,
    add_page,
    any_path,
    dataset_path,
    existing,
    flag_of,
    new_path,
    number,
    show_page,
)
from gp3d_core.cli.prepare import (
    add_compose,
    add_depth,
    add_features,
    add_mask,
    add_mask_source,
    add_select,
    check_mask_source,
)
from gp3d_core.errors import spell

if TYPE_CHECKING:
    from gp3d_core.preparation.packing import PackReport

_LISTED = 10  # names that a summary shows before it counts the rest


def add_data(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `gp3d data`."""
    verbs = parser.add_subparsers(title="verbs", required=True, metavar="VERB")
    _add_pack(verbs)
    _add_check(verbs)
    _add_stats(verbs)
    add_depth(verbs)
    add_mask(verbs)
    add_compose(verbs)
    add_features(verbs)
    add_select(verbs)
    _add_zip(verbs)
    _add_card(verbs)


def _add_pack(verbs: argparse._SubParsersAction[Any]) -> None:
    parser = verbs.add_parser("pack", help="photographs to a data set; the same command again goes on")
    add = parser.add_argument
    add(
        "source",
        type=any_path,
        help="folder (flat, a folder per class, ImageNet), zip, Hugging Face data set",
    )
    add("target", type=any_path, help="folder, or .zip")
    add("--resolution", type=number(int, 8, 4096), default=256, help="pixels a side (default 256)")
    add("--fit", choices=("crop", "letterbox"), default="crop", help="square in the middle, or all on white")
    add("--subject", action="store_true", help="cut to the subject, which --model or --masks shows")
    add_mask_source(parser)
    add("--layout", choices=("auto", "ids", "classes", "flat"), default="auto", help="what folders mean")
    add("--labels", type=existing, metavar="FILE", help="table of classes of pictures whose folders say none")
    add("--on-error", choices=("skip", "stop"), default="skip", help="of a picture that cannot be used")
    add("--license", metavar="TEXT", help="of the pictures, in words, for the data set's card")
    side = number(int, 1, 4096)
    add(
        "--min-side",
        type=side,
        help="least pixels of the side that becomes the resolution (default: its half)",
    )
    pixels = number(float, 0.001, 170)
    add("--max-megapixels", type=pixels, default=64, help="largest picture that is decoded (default 64)")
    add("--imagenet-names", action="store_true", help="a class called like one of ImageNet's is that class")
    add("--follow-links", action="store_true", help="also links that lead out of the source")
    add("--split", help="Hugging Face: which split (default train)")
    add("--image-column", metavar="NAME", help="Hugging Face tables: column of the picture")
    add("--label-column", metavar="NAME", help="tables and metadata files: column of the class")
    _add_workers(parser)
    parser.set_defaults(command=_pack)


def _add_check(verbs: argparse._SubParsersAction[Any]) -> None:
    parser = verbs.add_parser("check", help="decode everything; say all that is missing or wrong")
    parser.add_argument("dataset", type=dataset_path, help="folder or zip (docs/dataset.md)")
    parser.add_argument("--features", type=existing, help="distillation features to check as well")
    most = number(int, 1, 1e9)
    parser.add_argument("--most", type=most, default=20, help="files named of each kind (default 20)")
    _add_workers(parser)
    parser.set_defaults(command=_check)


def _add_stats(verbs: argparse._SubParsersAction[Any]) -> None:
    parser = verbs.add_parser("stats", help="draw depth histograms, class balance, a contact sheet")
    parser.add_argument("dataset", type=dataset_path, help="folder or zip (docs/dataset.md)")
    parser.add_argument("--out", type=new_path, required=True, help="folder of the pictures and stats.json")
    shown = number(int, 1, 400)
    parser.add_argument("--samples", type=shown, default=32, help="images on the sheet (default 32)")
    _add_workers(parser)
    parser.set_defaults(command=_stats)


def _add_zip(verbs: argparse._SubParsersAction[Any]) -> None:
    parser = verbs.add_parser("zip", help="one file of a data set's folder, for moving and for slow disks")
    parser.add_argument("dataset", type=dataset_path, help="folder (docs/dataset.md)")
    parser.add_argument("target", type=any_path, help="the new .zip")
    parser.set_defaults(command=_zip)


def _add_card(verbs: argparse._SubParsersAction[Any]) -> None:
    parser = verbs.add_parser(
        "card", help="say what is in it, who made it, and what a model that learns from it owes to whom"
    )
    parser.add_argument("dataset", type=dataset_path, help="folder or zip (docs/dataset.md)")
    add_page(parser)
    parser.set_defaults(command=_card)


def _add_workers(parser: argparse.ArgumentParser) -> None:
    cores = len(os.sched_getaffinity(0))
    parser.add_argument(
        "--workers", type=number(int, 1, 512), default=cores, help=f"at a time (default {cores}, the cores)"
    )


def _pack(options: argparse.Namespace) -> int:
    if options.subject:
        check_mask_source(options)
    elif options.model is not None or options.masks is not None:
        raise UsageError(
            "--model and --masks go with --subject; `gp3d data mask` adds masks to packed images"
        )
    from gp3d_core.preparation.maps.subject import SubjectMasks
    from gp3d_core.preparation.packing import PackSettings, pack
    from gp3d_core.preparation.sources.pictures import Source
    from gp3d_core.signals import interruptible

    subject = (
        SubjectMasks(options.model, options.masks, options.pixels, options.side) if options.subject else None
    )
    with interruptible() as interruption:
        report = pack(
            Source(
                options.source,
                layout=options.layout,
                labels=options.labels,
                follow_links=options.follow_links,
                split=options.split,
                image_column=options.image_column,
                label_column=options.label_column,
            ),
            options.target,
            PackSettings(
                resolution=options.resolution,
                fit=options.fit,
                min_side=(options.resolution + 1) // 2 if options.min_side is None else options.min_side,
                megapixels=options.max_megapixels,
                imagenet_names=options.imagenet_names,
            ),
            subject=subject,
            license=options.license,
            workers=options.workers,
            on_error=options.on_error,
            interruption=interruption,
        )
        _tell_packed(report, options.target)
        return interruption.exit_code if report.stopped else 0


def _tell_packed(report: PackReport, target: Path) -> None:
    """The summary of packing: the target to stdout, the rest to stderr."""
    from gp3d_core.datasets.archive import maps_command

    say = sys.stderr
    left = "".join(f", {n} {what} left out" for what, n in report.left_out.items())
    kept = f", {report.kept} from before" if report.kept else ""
    print(
        f"{report.kind}: {report.packed} pictures packed{kept}, {len(report.failures)} refused{left}",
        file=say,
    )
    for key, reason in sorted(report.failures.items())[:_LISTED]:
        print(f"  {key} {spell(reason, flag_of)}", file=say)
    if len(report.failures) > _LISTED:
        print(f"  … and {len(report.failures) - _LISTED} more, see failures.jsonl", file=say)
    if report.stopped:
        print("stopped; the same command goes on", file=say)
        return
    for what, twice in (("the same as", report.exact), ("similar to", report.near)):
        for first, second, *_ in twice[:_LISTED]:
            print(f"  {second} is {what} {first}", file=say)
        if len(twice) > _LISTED:
            print(f"  … and {len(twice) - _LISTED} more, see duplicates.json", file=say)
    if report.enlarged:
        print(
            f"  {report.enlarged} pictures were smaller than the resolution and have been enlarged", file=say
        )
    print(f"next: {maps_command('depth', target)}", file=say)
    print(target)


def _check(options: argparse.Namespace) -> int:
    from gp3d_core.datasets.archive import DatasetError
    from gp3d_core.preparation.checking import check_dataset
    from gp3d_core.signals import interruptible

    with interruptible() as interruption:
        report = check_dataset(
            options.dataset,
            features=options.features,
            most=options.most,
            workers=options.workers,
            interruption=interruption,
        )
        if interruption.requested:
            return interruption.exit_code
    size = "unknown size" if report.resolution is None else f"{report.resolution} px"
    with_features = " and features" if options.features else ""
    state = f"with depth{with_features}, all readable" if report.sound else "with faults"
    print(f"{options.dataset}: {report.images} images of {size} {state}")
    for name, count in report.class_counts:
        print(f"{count:8d}  {name}")
    for line in report.lines():
        print(line)
    if not report.sound:
        faults = [kind for kind in report.kinds.values() if kind.fault]
        count = sum(kind.count for kind in faults)
        raise DatasetError(
            f"{options.dataset} cannot be trained on: {count} fault{'s' * (count > 1)}, the first "
            f"{faults[0].text}: {faults[0].named[0]}"
        )
    return 0


def _stats(options: argparse.Namespace) -> int:
    from gp3d_core.preparation.statistics import write_statistics

    if options.out.resolve() == options.dataset.resolve():
        raise UsageError(f"--out {options.out} is the data set itself; choose another folder")
    if options.out.is_file():
        raise UsageError(f"--out {options.out} is a file; choose a folder")
    for path in write_statistics(
        options.dataset, options.out, samples=options.samples, workers=options.workers
    ):
        print(path)
    return 0


def _zip(options: argparse.Namespace) -> int:
    from gp3d_core.datasets.dataset import Dataset
    from gp3d_core.preparation.pack_folder import zip_folder

    if not options.dataset.is_dir():
        raise UsageError(f"expected the folder of a data set, found {options.dataset}")
    if options.target.exists() or options.target.suffix.lower() != ".zip":
        raise UsageError(f"expected a new file that ends in .zip, found {options.target}")
    Dataset(options.dataset, needs_depth=False)
    zip_folder(options.dataset, options.target)
    print(options.target)
    return 0


def _card(options: argparse.Namespace) -> int:
    from gp3d_core.preparation.dataset_card import page_of

    return show_page(page_of(options.dataset), options.out)
