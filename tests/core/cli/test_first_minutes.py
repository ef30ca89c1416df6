"""What a new user meets first: mistakes answered before anything heavy is imported, Ctrl-C in one line, quiet pipes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gp3d_core.cli import doctor
from gp3d_core.cli.arguments import has_driver
from gp3d_core.cli.main import main
from gp3d_core.config.presets import resolve
from gp3d_core.config.schema import ConfigError
from gp3d_core.signals import RAISED

ROOT = Path(__file__).resolve().parents[3]
HEAVY = ("torch", "trimesh", "scipy", "matplotlib")


def environment(folder: Path, *stand_ins: str) -> dict[str, str]:
    """Variables of a process in which importing one of `stand_ins` ends everything with the exit code 77."""
    for name in stand_ins:
        (folder / f"{name}.py").write_text("import os\nos._exit(77)\n")
    return os.environ | {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("mesh --class mushroom --seeds 5-2", "5-2 is not a range"),
        ("mesh --class mushroom --format fbx", "--format fbx: expected obj, glb, ply, npz"),
        ("mesh --class mushroom --out {t}/a.obj", "expected a folder"),
        ("mesh --class nonsense-word", "this model knows no"),
        ("mesh --grid -5 --class mushroom", "from 8 to 2048"),
        ("mesh", "--class"),
        ("mesh {t}/none.safetensors --class mushroom", "none.safetensors"),
        ("mesh --recipe {t}/none.json", "none.json"),
        ("mesh --class mushroom --crop-box 1,2", "six numbers"),
        ("render --class mushroom --seeds x", "numbers and ranges"),
        ("render --class mushroom --out {t}/a.txt", "a sheet is a .png"),
        ("train {t}/none {t}/run", "no data set at"),
        ("train {t}/empty {t}/run", "is empty"),
        ("train {t}/empty {t}/run --set training.kimg=abc", "is empty"),
        ("train . {t}/run --preset shapenet-46", "shapenet-64"),
        ("train . {t}/run --init {t}/none", "none"),
        ("ground {t}/none {t}/run", "no data set at"),
        ("evaluate {t}/none.safetensors . --out {t}/x", "none.safetensors"),
        ("data check {t}/none", "no data set at"),
        ("data depth {t}/none --model x", "no data set at"),
        ("vq3d train {t}/none {t}/run", "no data set at"),
        ("vq3d train-prior box {t}/none {t}/run", "no data set at"),
        ("vq3d sample box --class nonsense-word --out {t}/x", "this model knows no"),
        ("vq3d sample {t}/none --out {t}/x", "none"),
        ("classes {t}/none", "none"),
        ("evaluate {t}/file.txt {t}/pictures --out {t}/x", "file.txt"),
        ("evaluate {t}/file.txt {t}/pictures --out {t}/file.txt", "expected a folder"),
        ("train {t}/pictures {t}/run --init {t}/file.txt", "file.txt"),
        ("vq3d ablate-depth {t}/pictures {t}/file.txt", "expected a folder"),
        ("mesh --class=", "expected a class, found an empty text"),
        ("mesh mug", "no snapshot at mug; did you mean --class mug?"),
        ("mesh mug --class teapot", "no snapshot at mug; did you mean --class mug?"),
        ("render mug", "no snapshot at mug; did you mean --class mug?"),
        ("mesh --class mug --dry-run", "unrecognized arguments: --dry-run; see gp3d mesh --help"),
        ("vq3d sample box --dry-run", "unrecognized arguments: --dry-run; see gp3d vq3d sample --help"),
        ("mesh --class mug --out=", "--out: expects a path, found ''"),
        ("vq3d sample box --out=", "--out: expects a path, found ''"),
        ("mesh --recipe {t}/file.txt --seeds 0", "--seeds does not go with --recipe"),
        ("mesh --recipe {t}/file.txt --truncation 0.7", "--truncation does not go with --recipe"),
        ("mesh --recipe {t}/file.txt --grid 64", "--grid does not go with --recipe"),
        ("mesh --recipe {t}/file.txt --faces 64", "--faces does not go with --recipe"),
        ("mesh --recipe {t}/file.txt", "file.txt is not a recipe"),
        ("mesh --class mushroom --out {t}/file.txt", "expected a folder"),
        ("mesh --class mushroom --out {t}/file.txt/below", "expected a folder, found a file at"),
        ("mesh --class mushroom --out /proc/x", "nothing can be written in /proc"),
        ("render --class mushroom --out /proc/x.png", "nothing can be written there"),
        ("render --class mushroom --out {t}", "a sheet is a .png"),
        ("render --class mushroom --kind turntable --out {t}/a.avi", "a name in .gif or .mp4"),
        ("render --class mushroom --kind wiggle --out {t}/a.png", "a name in .gif or .mp4"),
        ("render --class mushroom --kind line --out {t}/a.mp4", "use .gif, or pip install imageio-ffmpeg"),
        ("render --class mushroom --kind turntable --seeds 0-1 --out {t}/y.gif", "the films of 2 objects"),
        ("render --class mushroom --kind line --out /proc/x", "nothing can be written in /proc"),
        ("render --class mushroom --kind stills --out {t}/file.txt", "--out expects a folder"),
        ("train {t}/pictures {t}/file.txt", "not a run folder"),
        ("train {t}/pictures {t}/pictures", "not a run folder"),
        ("train {t}/pictures /proc/x", "nothing can be written in /proc"),
        ("ground {t}/pictures {t}/pictures", "not a run folder"),
        ("vq3d train {t}/pictures {t}/pictures", "not a run folder"),
        ("vq3d train-prior {t}/file.txt {t}/pictures {t}/run", "file.txt"),
        ("vq3d train-prior box {t}/pictures {t}/pictures", "not a run folder"),
        ("vq3d evaluate box {t}/none --out {t}/x", "no data set at"),
        ("vq3d evaluate {t}/file.txt {t}/pictures --out {t}/x", "file.txt"),
        ("vq3d evaluate box {t}/pictures --prior {t}/none --out {t}/x", "no prior"),
        ("vq3d evaluate box {t}/pictures --out {t}/file.txt", "expected a folder"),
        ("vq3d orbit {t}/none --out {t}/b.gif", "no VQ3D scene at"),
        ("vq3d orbit {t}/file.txt --out {t}/b.gif", "file.txt"),
        ("vq3d mesh {t}/none --out {t}/b.obj", "no VQ3D scene at"),
        ("vq3d sample box --out /proc/x", "nothing can be written in /proc"),
        ("vq3d reconstruct {t}/none {t}/p.png --out {t}/x", "no tokenizer at"),
        ("vq3d remove {t}/none --region 0,0,1,1 --out {t}/x.safetensors", "no VQ3D scene at"),
        ("vq3d interpolate {t}/none {t}/none --out {t}/x.gif", "no VQ3D scene at"),
        ("demo --out {t}/file.txt", "file.txt: expected a folder, found a file"),
    ],
)
def test_mistakes_are_answered_before_anything_heavy_is_imported(
    tmp_path: Path, command: str, answer: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "stand_ins").mkdir()
    (tmp_path / "stand_ins/imageio_ffmpeg.py").write_text("raise ImportError\n")
    (tmp_path / "file.txt").write_text("mine")
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures/a.png").touch()
    words = command.format(t=tmp_path).split()
    done = subprocess.run(
        [sys.executable, "-m", "gp3d_core.cli", *words],
        cwd=ROOT,
        env=environment(tmp_path / "stand_ins", *HEAVY),
        capture_output=True,
        text=True,
        timeout=60,
    )
    last = (done.stderr.strip().splitlines() or [""])[-1]
    assert (done.returncode, last.startswith("gp3d: "), answer in last) == (2, True, True), (
        done.returncode,
        last,
    )
    assert not done.stdout
    assert (tmp_path / "file.txt").read_text() == "mine"


@pytest.mark.skipif(has_driver(), reason="a driver of cards is there, so that only torch can tell")
@pytest.mark.parametrize(
    "command", ["mesh --class mushroom", "train {t} {t}/run", "vq3d sample box", "serve"]
)
def test_a_card_where_no_driver_is_needs_no_torch_to_be_refused(tmp_path: Path, command: str) -> None:
    (tmp_path / "a.png").touch()
    done = subprocess.run(
        [sys.executable, "-m", "gp3d_core.cli", *command.format(t=tmp_path).split(), "--device", "cuda"],
        cwd=ROOT,
        env=environment(tmp_path, *HEAVY),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr.strip().splitlines()[-1]) == (
        2,
        "gp3d: --device cuda: this machine has no CUDA device that torch can use; use --device cpu",
    )


def test_the_stand_ins_of_heavy_libraries_are_met_by_a_right_command(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "gp3d_core.cli",
        "mesh",
        "--class",
        "mushroom",
        "--out",
        str(tmp_path / "m"),
    ]
    done = subprocess.run(
        command, cwd=ROOT, env=environment(tmp_path, *HEAVY), capture_output=True, timeout=60
    )
    assert done.returncode == 77


SLOW = """
import sys, time
print("importing", flush=True)
try:
    time.sleep(60)
except BaseException:  # as lazy importers do
    pass
"""
PROGRAM = """
import sys
from gp3d_core.signals import ending_in_one_line
try:
    with ending_in_one_line("ended"):
        {block}
except KeyboardInterrupt:
    sys.exit("raised")
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize(
    ("block", "word"),
    [("import slow", "ended"), ("import time; print(1, flush=True); time.sleep(60)", "raised")],
)
def test_signals_end_imports_in_one_line_and_are_raised_elsewhere(
    tmp_path: Path, block: str, word: str, number: signal.Signals
) -> None:
    (tmp_path / "slow.py").write_text(SLOW)
    code = 128 + number if word == "ended" else 1
    assert _ended_by(number, block, tmp_path) == (code, word)


def _ended_by(number: signal.Signals, block: str, folder: Path) -> tuple[int, str]:
    """Exit code and errors of the program with that block, to which a signal is sent once it has printed something."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(block=block)],
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_usual_signals,
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(number)
    errors = process.communicate(timeout=30)[1]
    return process.returncode, errors.strip()


def _usual_signals() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def test_what_swallows_a_signal_is_killed_before_long(tmp_path: Path) -> None:
    """Twice the same: schedulers send it twice, and what cleans up after the first is not interrupted."""
    program = """
import time
from gp3d_core import signals
signals._LONGEST_END = 1
with signals.ending_in_one_line("ended"):
    ready = False
    while True:
        try:
            if not ready:
                ready = True
                print(1, flush=True)
            time.sleep(60)
        except KeyboardInterrupt as error:
            print(error.number, flush=True)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program], env=environment(tmp_path), stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "1\n"
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == f"{signal.SIGTERM:d}\n"
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=30)[0] == ""
    assert process.returncode == -signal.SIGALRM


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_after_the_work_change_nothing_of_its_end(tmp_path: Path, number: signal.Signals) -> None:
    block = "pass\n    print(1, flush=True); import time; time.sleep(1); sys.exit(7)"
    assert _ended_by(number, block, tmp_path) == (7, "")


def test_an_error_that_a_library_makes_of_a_signal_is_that_signals_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As torch does of what is raised while it asks a storage for its shape."""

    def fails(**_: object) -> str:
        monkeypatch.setattr(RAISED, "signal", signal.SIGTERM)
        raise ValueError("could not determine the shape of object type 'torch.storage.UntypedStorage'")

    monkeypatch.setattr(doctor, "report", fails)
    assert main(["doctor"]) == 128 + signal.SIGTERM
    assert capsys.readouterr().err == (
        "gp3d: interrupted; every file that is there is whole, and the same command makes the rest\n"
    )


@pytest.mark.parametrize("command", ["classes box-1", "classes box-1 --json", "card", "mesh --help"])
@pytest.mark.parametrize("closed", ["stdout", "both"])
def test_a_reader_that_has_read_enough_is_no_error(command: str, closed: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "gp3d_core.cli", *command.split()],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE if closed == "stdout" else subprocess.STDOUT,
    )
    assert process.stdout is not None
    process.stdout.close()
    if process.stderr is not None:
        assert process.stderr.read() == b""
    assert process.wait(timeout=60) == 0


WRITER = """
import os, sys
from gp3d_core.cli import __main__ as program, main
def work():
    with open(sys.argv[1], "w"):
        for number in range(4):
            print(number, flush=True)
            print("note", file=sys.stderr, flush=True)
            os.write(1, b"native")
            os.write(2, b"native")
    return 7
main.main = work
sys.exit(program.run())
"""


@pytest.mark.parametrize("redirection", ["| true", "2>&1 | true", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_work_is_done_whoever_reads(tmp_path: Path, redirection: str) -> None:
    """What is printed is lost, what is written is not, and the exit code is what it would have been."""
    line = f'{{ "$0" -c "$1" "$2"; echo $? > "$3"; }} {redirection}'
    done, code = tmp_path / "done", tmp_path / "code"
    subprocess.run(["sh", "-c", line, sys.executable, WRITER, done, code], cwd=ROOT, timeout=60, check=True)
    assert done.exists()
    assert done.read_bytes() == b""  # a closed stream's number was not taken by it
    assert code.read_text().strip() == "7"


@pytest.mark.parametrize(
    ("which", "redirection", "code", "errors"),
    [
        ("box-1", ">&-", 0, ""),
        *(
            (
                which,  # little, which is only written at the end, and much
                ">/dev/full",
                2,
                "gp3d: (its output could not be printed|what is printed, or a file): No space left on device",
            )
            for which in ("box-1", "box --json")
        ),
    ],
)
def test_an_output_that_takes_nothing_is_at_most_one_line(
    which: str, redirection: str, code: int, errors: str
) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    line = f'exec "$0" -m gp3d_core.cli classes {which} {redirection}'
    done = subprocess.run(
        ["sh", "-c", line, sys.executable], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == code
    assert re.fullmatch(errors, done.stderr.strip()), done.stderr


def test_names_are_printed_whatever_letters_the_terminal_has(tmp_path: Path) -> None:
    recipe = tmp_path / "\u00fcn\u00ef" / "no.json"
    program = (
        "import sys; from gp3d_core.cli import __main__ as program; import gp3d_core.cli.main as main\n"
        f"main.main = lambda: print({str(recipe)!r}) or 0\nprogram.run()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip() == str(recipe).encode("ascii", "backslashreplace").decode()


def test_the_command_alone_shows_help_with_first_steps(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    captured = capsys.readouterr()
    assert 'gp3d mesh --class "coffee mug"' in captured.err
    assert not captured.out


@pytest.mark.parametrize(
    ("key", "advice"),
    [
        ("training.kimgs", "did you mean 'training.kimg'?"),
        ("kimg", "did you mean 'training.kimg' or"),
        ("resolution", "'training.resolution'"),
        ("qqqq", "choose one of camera, "),
    ],
)
def test_advice_on_keys_is_a_whole_key(key: str, advice: str) -> None:
    with pytest.raises(ConfigError, match=f"no configuration key '{key}'; .*{advice}"):
        resolve("tiny", [f"{key}=1"])
