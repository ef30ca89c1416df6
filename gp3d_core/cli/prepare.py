"""The verbs of `gp3d data` for which a pretrained network looks at the pictures: depth, features, select."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from gp3d_core.cli.arguments import (
    UsageError,
    any_path,
    dataset_path,
    existing,
    new_path,
    number,
)
from gp3d_core.preparation.depth.kinds import MEANINGS

if TYPE_CHECKING:
    from gp3d_core.signals import Interruption

_RATIO = 1.25 / 0.75  # t_far / t_near of the presets for photographs


def add_depth(verbs: argparse._SubParsersAction[Any]) -> None:
    """Adds `gp3d data depth`."""
    parser = verbs.add_parser("depth", help="estimate depth maps, or take those of another program")
    add = parser.add_argument
    add("dataset", type=dataset_path, help="folder of images (docs/dataset.md); maps are written beside them")
    add(
        "--model",
        help="id or folder of a transformers model (default: Depth Anything V2 Small), or the file of TCMonoDepth's "
        "small network, for which nothing need be installed",
    )
    add(
        "--from",
        dest="source",
        type=any_path,
        metavar="DIR",
        help="take maps from here: 16-bit or 8-bit PNG, npy or exr, at the paths of images or photographs",
    )
    add(
        "--kind",
        choices=MEANINGS,
        help="what the model or the files say: depth or disparity, of any scale, or (files only) metres, PNG: "
        "millimetres (default: as the model does; files: depth)",
    )
    add(
        "--ratio",
        type=number(float, 1.001, 1000),
        default=_RATIO,
        help=f"t_far / t_near that disparity is turned into depth with (default {_RATIO:.3f}, the photo presets')",
    )
    add("--batch", type=number(int, 1, 4096), default=8, help="images at a time (default 8)")
    add("--overwrite", action="store_true", help="replace the maps that are there")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.set_defaults(command=_depth)


def add_mask(verbs: argparse._SubParsersAction[Any]) -> None:
    """Adds `gp3d data mask`."""
    parser = verbs.add_parser(
        "mask", help="which pixels are subject: from a network, or masks of another program"
    )
    parser.add_argument(
        "dataset", type=dataset_path, help="folder of images (docs/dataset.md); masks are written beside them"
    )
    add_mask_source(parser)
    parser.add_argument("--batch", type=number(int, 1, 4096), default=4, help="images at a time (default 4)")
    parser.add_argument("--overwrite", action="store_true", help="replace the masks that are there")
    parser.set_defaults(command=_mask)


def add_mask_source(parser: argparse.ArgumentParser) -> None:
    """Adds where masks come from, as `mask_source` reads it."""
    add = parser.add_argument
    add("--model", type=any_path, metavar="FILE.onnx", help="network of the kind of ISNet or U²-Net")
    add("--masks", type=any_path, metavar="DIR", help="take masks from here: white is subject, or alpha")
    add(
        "--pixels",
        choices=("auto", "imagenet", "half", "symmetric", "unit"),
        default="auto",
        help="numbers that the network sees (default auto: imagenet below 512 pixels a side, else half)",
    )
    add("--side", type=number(int, 32, 4096), help="pixels a side of a network that takes any (default 1024)")


def check_mask_source(options: argparse.Namespace) -> None:
    """Raises UsageError unless masks come from exactly one place."""
    if (options.model is None) == (options.masks is None):
        raise UsageError("masks come from --model FILE.onnx or --masks DIR, one of the two")
    if options.masks is not None and (options.pixels != "auto" or options.side is not None):
        raise UsageError("--pixels and --side are for --model")


def add_compose(verbs: argparse._SubParsersAction[Any]) -> None:
    """Adds `gp3d data compose`."""
    parser = verbs.add_parser(
        "compose", help="subjects on white, or before blurred surroundings, by their masks"
    )
    parser.add_argument("dataset", type=dataset_path, help="folder or zip, with masks and depth")
    parser.add_argument("out", type=new_path, help="folder or zip of the new data set")
    parser.add_argument(
        "--surroundings", choices=("white", "blur"), required=True, help="what is around subjects"
    )
    parser.set_defaults(command=_compose)


def add_features(verbs: argparse._SubParsersAction[Any]) -> None:
    """Adds `gp3d data features`."""
    parser = verbs.add_parser(
        "features", help="features of a pretrained network, for distillation and selection"
    )
    add = parser.add_argument
    add("dataset", type=dataset_path, help="folder or zip")
    add(
        "--teacher",
        required=True,
        help="timm:NETWORK, torchvision:NETWORK, clip:MODEL, or a file of features (.npy, .safetensors)",
    )
    add(
        "--weights",
        type=existing,
        metavar="FILE",
        help="the network's weights (default: from its hub or cache)",
    )
    add("--flips", action="store_true", help="mirror images get features of their own")
    add("--out", type=new_path, metavar="FILE", help="default: beside the data set")
    add("--batch", type=number(int, 1, 65536), default=32, help="images at a time (default 32)")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.set_defaults(command=_features)


def add_select(verbs: argparse._SubParsersAction[Any]) -> None:
    """Adds `gp3d data select`."""
    parser = verbs.add_parser("select", help="keep the images that are typical of their class")
    add = parser.add_argument
    add("dataset", type=dataset_path, help="folder or zip")
    add("out", type=new_path, help="folder or zip of a new data set, or .txt for the list of paths")
    add("--keep", type=_keep, required=True, help="share (0.333) or number (40000) to keep")
    add("--per-class", action="store_true", help="a Gaussian, and the share or number, for each class")
    add(
        "--features",
        type=existing,
        metavar="FILE",
        help="of `gp3d data features` (default: those beside the data set)",
    )
    regularisation = number(float, 0, 1e6)
    add("--regularisation", type=regularisation, default=1e-5, help="added to variances (default 1e-5)")
    add(
        "--files",
        choices=("link", "copy"),
        help="hard links or copies (default: link; copy from or to a zip)",
    )
    parser.set_defaults(command=_select)


def _keep(text: str) -> float:
    value = number(float, 1e-9, 1e9)(text)
    if value > 1 and value != round(value):
        raise argparse.ArgumentTypeError(f"expects a share up to 1 or a whole number, found {text!r}")
    return value


def _depth(options: argparse.Namespace) -> int:
    from gp3d_core.distributed import pick_device
    from gp3d_core.preparation.depth.files import FolderDepth, packed_fit
    from gp3d_core.preparation.depth.making import DepthSource, make_depth, open_for_depth
    from gp3d_core.preparation.depth.models import MODEL
    from gp3d_core.preparation.depth.monocular import MonocularDepth, open_model
    from gp3d_core.preparation.pack_folder import origins_of
    from gp3d_core.signals import interruptible

    if options.source and options.model:
        raise UsageError("depth comes from --model or --from, not both")
    if options.kind == "metric" and not options.source:
        raise UsageError("--kind metric is for --from; of what a network says the scale is not kept")
    dataset = open_for_depth(options.dataset)  # before a model is fetched
    source: DepthSource
    if options.source:
        fit = packed_fit(options.dataset)
        source = FolderDepth(
            options.source,
            dataset.names,
            kind=options.kind or "depth",
            ratio=options.ratio,
            fit=fit,
            origins=origins_of(options.dataset),
        )
    else:
        model = options.model or MODEL
        device = pick_device(options.device)
        source = open_model(model, dataset, kind=options.kind, ratio=options.ratio, device=device)
        if options.kind not in (None, source.expected) and source.expected:
            _warn(f"{model} is known to predict {source.expected}, --kind says {options.kind}")
        _say(
            f"{model} predicts {source.record['kind']}; licence: {source.license or 'not stated in its card'}"
        )
    with interruptible() as stop:
        report = make_depth(options.dataset, source, stop, batch=options.batch, overwrite=options.overwrite)
    flat = f", {report.flat} of them flat" if report.flat else ""
    _say(f"{report.made} depth maps made{flat}, {report.kept} were there")
    if isinstance(source, FolderDepth) and source.gaps:
        most = max(source.gaps, key=lambda file: source.gaps[file])
        _say(
            f"{len(source.gaps)} files have places without a distance, {most} with {source.gaps[most]:.1%} the most; "
            "there the nearest place that has one was taken"
        )
    if report.looks_flat:
        metres = " If PNG files hold millimetres, say --kind metric --overwrite" if options.source else ""
        _warn(f"the new maps reach over {report.reach:.1%} of the range of depth: nearly flat.{metres}")
    if report.looks_inverted:
        _warn("depth grows towards the bottom of most pictures; is it disparity? See --kind")
    if isinstance(source, MonocularDepth) and source.plain:
        _warn(
            f"{len(source.plain)} of {report.made} new pictures have a plain background, the first is "
            f"{source.plain[0]}; of objects on white this network knows no depth. Renders have true depth; for "
            "photographs name a larger model (docs/data.md)"
        )
    return _end(report.stopped, stop, options.dataset)


def _mask(options: argparse.Namespace) -> int:
    check_mask_source(options)
    from gp3d_core.preparation.maps.making import MapSource, open_folder
    from gp3d_core.preparation.maps.mask_network import NetworkMasks
    from gp3d_core.preparation.maps.masks import FolderMasks, make_masks
    from gp3d_core.preparation.pack_folder import origins_of
    from gp3d_core.signals import interruptible

    dataset = open_folder(options.dataset, "masks")
    source: MapSource
    if options.masks is not None:
        source = FolderMasks(options.masks, dataset.names, origins_of(options.dataset))
    else:
        source = NetworkMasks(options.model, pixels=options.pixels, side=options.side)
        side = f"{source.record['side']} pixels a side" + (", any other with --side" if source.free else "")
        _say(f"{options.model} sees {side}, as --pixels {source.record['pixels']}")
    with interruptible() as stop:
        report = make_masks(options.dataset, source, stop, batch=options.batch, overwrite=options.overwrite)
    empty = (
        f", {report.empty} of them empty (subject is what is more than half white)" if report.empty else ""
    )
    _say(f"{report.made} masks made{empty}, {report.kept} were there")
    return _end(report.stopped, stop, options.dataset)


def _compose(options: argparse.Namespace) -> int:
    from gp3d_core.preparation.maps.surroundings import write_composed

    if options.out.suffix == ".txt":
        raise UsageError(f"expected a folder or a .zip, found {options.out}")
    write_composed(options.dataset, options.out, options.surroundings)
    print(options.out)
    return 0


def _features(options: argparse.Namespace) -> int:
    from gp3d_core.datasets.dataset import Dataset
    from gp3d_core.distributed import pick_device
    from gp3d_core.preparation.features import FILES, default_features_path, import_features, write_features
    from gp3d_core.preparation.teachers import open_teacher
    from gp3d_core.signals import interruptible

    dataset = Dataset(options.dataset, needs_depth=False)
    out = options.out or default_features_path(options.dataset, options.teacher)
    if options.teacher.endswith(FILES):
        if options.flips or options.weights:
            raise UsageError("a file of features takes neither --flips nor --weights")
        report = import_features(dataset, Path(options.teacher), out)
        _say(f"{report.rows} x {report.dim} features taken over")
        print(out)
        return 0
    teacher = open_teacher(options.teacher, options.weights, pick_device(options.device))
    with interruptible() as stop:
        report = write_features(dataset, teacher, out, stop, flips=options.flips, batch=options.batch)
    _say(f"{report.rows} x {report.dim} features, {report.computed} computed now")
    return _end(report.stopped, stop, out)


def _select(options: argparse.Namespace) -> int:
    from gp3d_core.datasets.dataset import Dataset
    from gp3d_core.preparation.features import features_of, find_features
    from gp3d_core.preparation.selection import select, selection_record, selection_sheet
    from gp3d_core.preparation.subset import write_subset
    from gp3d_core.visualization import save_picture

    dataset = Dataset(options.dataset, needs_depth=False)
    if options.per_class and not dataset.classes:
        raise UsageError(f"{options.dataset} has no classes; leave out --per-class")
    path = options.features or find_features(options.dataset)
    settings = {"per_class": options.per_class, "regularisation": options.regularisation}
    selection = select(features_of(dataset, path), dataset.labels, options.keep, **settings)
    record = selection_record(path.name, options.keep, **settings)
    files: Literal["link", "copy"] = options.files or ("link" if options.dataset.is_dir() else "copy")
    names = [dataset.names[i] for i in selection.kept]
    title = options.out.stem if options.out.suffix in (".txt", ".zip") else options.out.name
    picture = options.out.with_name(f"{title}_selection.png")
    write_subset(
        options.dataset,
        names,
        options.out,
        "selection",
        record,
        files=files,
        beside=lambda: save_picture(selection_sheet(dataset, selection), picture),
    )
    if selection.thin and selection.variance > 0:
        _warn(
            f"{selection.thin} of {len(selection.groups)} Gaussians have no more images than features have numbers "
            f"({selection.dim}); --regularisation {selection.variance:.3g}, the mean variance, gives a better order"
        )
    groups = f"{len(selection.groups)} classes" if options.per_class else "one Gaussian"
    _say(f"{len(names)} of {len(dataset)} images kept, {groups}; see {picture}")
    print(options.out)
    return 0


def _end(stopped: bool, stop: Interruption, result: Path) -> int:
    """Names the result, or says that there is none yet; returns the exit code."""
    if stopped:
        _say("stopped; the same command goes on")
        return stop.exit_code
    print(result)
    return 0


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _warn(text: str) -> None:
    _say(f"gp3d: warning: {text}")
