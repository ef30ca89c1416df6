"""`python -m synthetic.render MODELS... OUT`: renders model libraries into a dataset folder.

Colour on white, exact depth and camera of every view, as docs/dataset.md describes them. What is there already
is kept, so the same command finishes an interrupted run; docs/rendering.md says more.
Exit status: 0, 2 for bad input, 3 when the time limit or too many broken models ended the run or views are missing by
no fault of their model, 130 or 143 if stopped by Ctrl-C or SIGTERM.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import sys
from collections.abc import Sequence
from contextlib import closing
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from synthetic.atomic import remove_parts, write_whole
from synthetic.dataset import DatasetError, Settings, make_folder, views_in
from synthetic.dataset_index import blenders_of, check_place, open_dataset, remove_damaged, write_index
from synthetic.layouts.permitted import permitted
from synthetic.layouts.plain import unused_in_words, unused_meshes
from synthetic.layouts.shapenet import LibraryError, Model, interleave, load_library, split_of
from synthetic.options import (
    VIEWS_PER_WORKER,
    command_line,
    placement_of,
    settings_of,
    surroundings_of,
    with_axes,
)
from synthetic.staging.treatment import ModelLimits
from synthetic.surroundings.settings import SurroundingFiles, SurroundingsError
from synthetic.workers.blender_process import StopRequest, untested_blender
from synthetic.workers.executors import Executor, ExecutorError, LocalExecutor, connect_ray
from synthetic.workers.run import (
    FailureLog,
    RunError,
    RunResult,
    ShardLock,
    StopPolicy,
    merge_failures,
    plan,
    run_jobs,
)
from synthetic.workers.scratch import remove_leftovers
from synthetic.workers.worker import RenderJob, RenderSpec
from synthetic.workers.worker_process import BlenderError, RestartPolicy

_ENDED_EARLY = 3


def choose_models(arguments: argparse.Namespace, library: Sequence[Model]) -> tuple[list[Model], int]:
    """This shard's of the models asked for, and how many are asked for. Raises LibraryError."""
    models = [model for model in library if arguments.split in ("all", split_of(model.key, model.parent))]
    if not models:
        raise LibraryError(f"{arguments.models[0]}: no model belongs to the split {arguments.split!r}")
    models = interleave(models, arguments.per_class)[: arguments.limit]
    return [model for model in models if arguments.shard.holds(model.key)], len(models)


def render_library(
    arguments: argparse.Namespace,
    settings: Settings,
    files: SurroundingFiles,
    restart_policy: RestartPolicy,
    limits: ModelLimits,
    stop_policy: StopPolicy,
) -> int:
    """The exit status, after what is asked for and still missing was rendered.

    Raises LibraryError, DatasetError, RunError, ExecutorError, BlenderError, or OSError where the disk refuses.
    """
    library = load_library(*arguments.models, **placement_of(arguments))
    allowed, said = permitted(library, arguments.licences)
    models, asked = choose_models(arguments, allowed)
    used = {model.path for model in library}
    unused = {file: why for root in arguments.models for file, why in unused_meshes(root, used).items()}
    out, shard = arguments.out, arguments.shard
    check_place(out)
    make_folder(out)
    with ShardLock(out, shard) as lock, StopRequest() as stop:
        sys.stderr.writelines(f"{line}\n" for line in said)
        _tell_unused(out, unused)
        generator = generator_facts()
        failure_log = FailureLog(out, shard)
        remove_leftovers()
        if shard.count == 1:  # others may be writing
            remove_parts(out)
        with lock.index():
            damaged = remove_damaged(out)
            if damaged:
                sys.stderr.write(f"{out}: {len(damaged)} damaged: {', '.join(damaged[:3])}\n")
            known = {**open_dataset(out, settings, shared=shard.count > 1), **failure_log.unindexed()}
            there = views_in(out)
            if there and not arguments.resume:
                raise DatasetError(
                    f"{out}: holds {len(there)} views; choose another folder, or let it --resume"
                )
            earlier = blenders_of(out) if there else []
            if not (out / "dataset.json").exists() or not there:
                write_index(out, settings, known, generator, arguments.license)
        again = arguments.retry or arguments.strict
        jobs = plan([model for model in models if again or model.key not in known], arguments.views, there)
        result = RunResult()
        generator["blender"] = ", ".join(_blenders(earlier, generator["blender"], out, bool(jobs)))
        try:
            if jobs:
                spec = RenderSpec(out, settings, limits, _threads(arguments, jobs), files)
                with closing(_executor(arguments, jobs, spec, restart_policy)) as executor:
                    run_jobs(jobs, executor, stop_policy, stop, result, failure_log.add)
        finally:
            with lock.index():
                failures = merge_failures({**open_dataset(out, settings), **failure_log.unindexed()}, result)
                total = write_index(out, settings, failures, generator, arguments.license)
                failure_log.clear()
        mine = {model.key for model in models}
        broken = {
            model: why for model, why in {**known, **result.failures}.items() if model in mine & set(failures)
        }
    return _report(arguments, result, broken, total, asked, stop.signal)


def _blenders(earlier: list[str], here: str, out: Path, draws: bool) -> list[str]:
    """The Blenders that have drawn a data set when this run ends; tells of another one than before."""
    if not draws and earlier:
        return earlier
    sys.stderr.write(untested_blender())
    if earlier and here not in earlier:
        sys.stderr.write(f"{out}: was begun with Blender {', '.join(earlier)} and goes on with {here}\n")
    return list(dict.fromkeys([*earlier, here]))


def _executor(
    arguments: argparse.Namespace, jobs: Sequence[RenderJob], spec: RenderSpec, restart_policy: RestartPolicy
) -> Executor:
    if arguments.engine == "ray":
        return connect_ray(spec, restart_policy, arguments.workers, arguments.address)
    return LocalExecutor(spec, restart_policy, worker_count(arguments.workers, jobs, _cores()))


def worker_count(asked: int | None, jobs: Sequence[RenderJob], cores: int) -> int:
    """How many processes render jobs: as many as `asked` for, else one for every 64 views begun, at most one a core."""
    views = sum(len(job.views) for job in jobs)
    return asked or min(cores, math.ceil(views / VIEWS_PER_WORKER), len(jobs))


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _threads(arguments: argparse.Namespace, jobs: Sequence[RenderJob]) -> int:
    if arguments.threads or arguments.engine == "ray":
        return int(arguments.threads or 1)
    return max(1, _cores() // worker_count(arguments.workers, jobs, _cores()))


def generator_facts() -> dict[str, str]:
    """The program and the versions that decide what a view looks like, for the data set's index.

    Raises BlenderError where Blender is not installed.
    """
    try:
        versions = {"blender": version("bpy"), "blenderproc": version("blenderproc")}
    except PackageNotFoundError as error:
        raise BlenderError(
            f"rendering needs the package {error.name}, which is for Python 3.11; `make setup-all` installs it there"
        ) from None
    return {
        "name": "synthetic.render",
        **versions,
        "numpy": version("numpy"),
        "python": platform.python_version(),
    }


def _report(
    arguments: argparse.Namespace,
    result: RunResult,
    broken: dict[str, str],
    total: int,
    asked: int,
    signal: int | None,
) -> int:
    out = arguments.out
    if result.end == "signal" and signal:
        sys.stderr.write(f"stopped; {out} holds {total} views; the same command continues\n")
        return 128 + signal
    if result.end == "failure":
        key, reason = next(iter(result.failures.items()))
        sys.stderr.write(f"error: {key}: {reason} (stopped there, as --strict asks)\n")
        return 2
    if result.end == "failures":
        sys.stderr.write(
            f"error: {len(result.failures)} of {len(result.tried)} models failed, more than "
            f"--max-failures {arguments.max_failures:g}; {_commonest(result.failures)}\n"
        )
        return _ENDED_EARLY
    if result.end == "time":
        sys.stderr.write(f"time is up; {out} holds {total} views; the same command continues\n")
        return _ENDED_EARLY
    if not total and arguments.shard.count == 1:
        why = (
            f"; {_commonest({**result.failures, **result.killed} or broken)}"
            if result.killed or broken
            else ""
        )
        sys.stderr.write(f"error: {arguments.models[0]}: none of {asked} models could be rendered{why}\n")
        return 2
    failed = f"; {len(broken)} broken models, listed in failures.jsonl" if broken else ""
    if result.killed:
        key, reason = next(iter(result.killed.items()))
        sys.stderr.write(
            f"{out} holds {total} views{failed}; views of {len(result.killed)} models are missing, as with {key}: "
            f"{reason}, again and again; the same command tries them again, with fewer --workers if memory is short\n"
        )
        return _ENDED_EARLY
    sys.stderr.write(f"{out} holds {total} views{failed}\n")
    return 0


def _tell_unused(out: Path, unused: dict[str, str]) -> None:
    """Lists the mesh files of the library that are no model of it in unused.jsonl, and says how many there are."""
    path = out / "unused.jsonl"
    text = "".join(json.dumps({"file": file, "reason": reason}) + "\n" for file, reason in unused.items())
    if text or path.exists():
        write_whole(path, text.encode())
    if unused:
        sys.stderr.write(f"{unused_in_words(unused)}; all in {path}\n")


def _commonest(failures: dict[str, str]) -> str:
    reasons = list(failures.values())
    return f"most often: {max(reasons, key=reasons.count)}"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; the exit status."""
    arguments = command_line(__doc__).parse_args(with_axes(sys.argv[1:] if argv is None else argv))
    try:
        surroundings, files = surroundings_of(arguments)
        settings = settings_of(arguments, surroundings)
        restart_policy = RestartPolicy(model_seconds=arguments.model_seconds, models=arguments.recycle)
        limits = ModelLimits(
            max_faces=arguments.max_faces,
            max_megabytes=arguments.max_megabytes,
            max_texture_side=arguments.max_texture,
        )
        stop_policy = StopPolicy(
            strict=arguments.strict, max_failures=arguments.max_failures, seconds=arguments.time_limit
        )
        return render_library(arguments, settings, files, restart_policy, limits, stop_policy)
    except (ValueError, ExecutorError, BlenderError, OSError) as error:
        if isinstance(error, ValueError) and type(error) not in (
            ValueError,
            LibraryError,
            DatasetError,
            RunError,
            SurroundingsError,
        ):
            raise
        sys.stderr.write(f"error: {error}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main())
