"""Help, versions, errors and exit codes of the whole command."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from models.errors import PoseGPTError
from posegpt_cli import app as frame
from posegpt_cli import console, questions
from posegpt_cli.console import UsageError

SCRIPT = Path(sys.executable).with_name("posegpt")
COMMANDS = ["sample", "forecast", "render", "actions", "prepare", "train"]
COMMANDS += ["train vqvae", "train gpt", "train classifier", "doctor"]


def two_lines(err: str) -> tuple[str, str]:
    """Message and hint of an error that is two lines and no more."""
    error, hint = err.splitlines()
    assert error.startswith("error: ") and hint.startswith("hint: ")
    return error.removeprefix("error: "), hint.removeprefix("hint: ")


@pytest.fixture
def failing(monkeypatch, posegpt):
    """Run a command that raises what it is given."""

    def run(error: BaseException):
        def build(words):
            app = typer.Typer()
            app.callback()(lambda: None)

            @app.command()
            def doctor() -> None:
                raise error

            return app

        monkeypatch.setattr(frame, "build_app", build)
        return posegpt("doctor")

    return run


def test_bare_command_shows_help(posegpt):
    bare, asked = posegpt(), posegpt("--help")
    assert bare.code == asked.code == 0
    assert bare.out == asked.out
    for command in frame.COMMANDS:
        assert command.summary.split()[0] in bare.out
        assert command.name in bare.out


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_examples_that_start_as_typed(posegpt, command):
    ran = posegpt(*command.split(), "-h")
    assert ran.code == 0
    _, _, examples = ran.out.partition("Examples")
    assert f"posegpt {command}" in examples or command == "train"


def test_summaries_in_the_list_are_those_of_the_commands(posegpt, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    for command in frame.COMMANDS:
        assert command.summary in posegpt(command.name, "--help").out


def test_version(posegpt):
    ran = posegpt("--version")
    assert ran.code == 0
    assert ran.out.startswith("posegpt 0.")


@pytest.mark.parametrize(
    ("words", "said", "hint"),
    [
        (["sampel"], "Did you mean 'sample'?", "posegpt --help"),
        (["sample", "--actoin", "walk"], "--action", "posegpt sample --help"),
        (["train", "vqae"], "Did you mean 'vqvae'?", "posegpt train --help"),
        (["train", "gpt", "--n-labels", "3"], "No such option", "posegpt train gpt --help"),
        (["sample", "-n", "many"], "'-n'", "posegpt sample --help"),
        (["eval", "fid", "--repeat", "2"], "--repeats", "posegpt eval fid --help"),
        (["eval"], "Missing command", "posegpt eval --help"),
        (["train"], "Missing command", "posegpt train --help"),
        (["eval", "fit"], "Did you mean 'fid'?", "posegpt eval --help"),
        (["sample", "--device", "tpu"], "cpu", "posegpt sample --help"),
    ],
)
def test_wrong_usage_is_two_lines_and_exit_code_2(posegpt, words, said, hint):
    ran = posegpt(*words)
    message, shown_hint = two_lines(ran.err)
    assert ran.code == 2
    assert said in message
    assert shown_hint == hint
    assert ran.out == ""


@pytest.mark.parametrize(
    ("error", "code", "message", "hint"),
    [
        (PoseGPTError("no such thing", "make one"), 1, "no such thing", "make one"),
        (PoseGPTError("two\nlines", "a\nhint"), 1, "two lines", "a hint"),
        (UsageError("--x is missing", "add --x"), 2, "--x is missing", "add --x"),
        (
            OSError(errno.ENOSPC, "No space left on device", "a.mp4"),
            1,
            "a.mp4: No space left",
            "free some space",
        ),
        (OSError(errno.EFBIG, "File too large", "a.csv"), 1, "a.csv: File too large", "no larger files"),
        (PermissionError(errno.EACCES, "Permission denied", "b"), 1, "b: Permission denied", "may write to"),
        (RuntimeError("[red]what"), 1, "RuntimeError: [red]what", "POSEGPT_DEBUG=1 posegpt doctor"),
        (ZeroDivisionError(), 1, "ZeroDivisionError", "POSEGPT_DEBUG=1"),
    ],
)
def test_exceptions_end_as_two_lines(failing, error, code, message, hint):
    ran = failing(error)
    shown, shown_hint = two_lines(ran.err)
    assert ran.code == code
    assert shown.startswith(message)
    assert hint in shown_hint


@pytest.mark.parametrize("error", [KeyboardInterrupt(), EOFError()])
def test_interruption_exits_with_130(failing, error):
    ran = failing(error)
    assert ran.code == 130
    assert "Traceback" not in ran.err


def test_traceback_only_when_asked_for(failing, monkeypatch):
    assert "Traceback" not in failing(RuntimeError("odd")).err
    monkeypatch.setenv("POSEGPT_DEBUG", "1")
    ran = failing(RuntimeError("odd"))
    assert "Traceback" in ran.err
    assert ran.err.splitlines()[-2] == "error: RuntimeError: odd"


def test_names_with_brackets_and_colons_are_shown_as_they_are(capsys):
    """A folder `data[old]` was shown as `data` in a table, `:x:` as a cross."""
    console.show_table(("store", "state"), [("data[old]/:x:", "[/] whole")])
    console.show_result("data[old]/:x:")
    console.say("data[old]/:x:")
    shown = capsys.readouterr()
    assert shown.out.splitlines()[1:] == ["data[old]/:x:  [/] whole", "data[old]/:x:"]
    assert shown.err == "data[old]/:x:\n"


def test_a_path_that_is_typed_at_a_question_may_begin_with_the_home_folder(monkeypatch):
    """No shell expands it there."""
    monkeypatch.setattr(questions, "is_interactive", lambda: True)
    monkeypatch.setattr(questions, "read_line", lambda *_: "~/recordings")
    assert questions.ask_path("--bvh", "folder") == str(Path.home() / "recordings")


def test_closed_streams_are_no_error():
    """As a program may start us that shows nothing: what was printed went to None."""
    ran = subprocess.run(["sh", "-c", f'exec "{SCRIPT}" actions <&- >&- 2>&-'])
    assert ran.returncode == 0


def test_characters_that_stdout_cannot_show_are_no_error(small_generator, tmp_path):
    """The file was written, and then the command failed when it said so."""
    words = ("sample", "--gpt", small_generator, "--action", "walk", "--len", "4", "--out", "wälk.npz")
    environ = os.environ | {"PYTHONIOENCODING": "ascii"}
    ran = subprocess.run([SCRIPT, *words], cwd=tmp_path, env=environ, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "w?lk.npz\n" and (tmp_path / "wälk.npz").is_file()


def modules_imported(words: list[str], **environ: str) -> tuple[set[str], str]:
    """Modules that a run of `posegpt` imports, and what it prints."""
    ran = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "posegpt_cli", *words],
        env=os.environ | environ, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return {line.rpartition("|")[2].strip() for line in ran.stderr.splitlines()}, ran.stdout


@pytest.mark.parametrize(
    "words", [["--help"], ["sample", "--help"], ["train", "gpt", "--help"], ["prepare", "-h"]]
)
def test_help_imports_no_torch(words):
    modules, out = modules_imported(words)
    assert "Usage" in out
    assert not modules & {"torch", "pyrender", "imageio", "smplx"}
    if words == ["--help"]:  # what makes it quick
        assert not modules & {"numpy", "pydantic", "models.config"}


@pytest.mark.parametrize(
    ("typed", "offered"),
    [("posegpt sam", "sample"), ("posegpt sample --acti", "--action"), ("posegpt train v", "vqvae")],
)
def test_completion_offers_words_and_imports_no_torch(typed, offered):
    modules, out = modules_imported(
        [], _POSEGPT_COMPLETE="complete_bash", COMP_WORDS=typed, COMP_CWORD=str(len(typed.split()) - 1)
    )
    assert offered in out.split()
    assert not modules & {"torch", "pyrender", "imageio", "smplx"}


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_are_offered_options_too(shell):
    _, out = modules_imported(
        [],
        _POSEGPT_COMPLETE=f"complete_{shell}",
        _TYPER_COMPLETE_ARGS="posegpt prepare --label-p",
        _TYPER_COMPLETE_FISH_ACTION="get-args",
    )
    assert "--label-pattern" in out


@pytest.fixture(params=["packages", "modules"])
def foreign_folder(request, tmp_path):
    """A working folder whose own `models` and `data` break whoever imports them."""
    for name in ("models", "data"):
        path = tmp_path / (f"{name}/__init__.py" if request.param == "packages" else f"{name}.py")
        path.parent.mkdir(exist_ok=True)
        path.write_text("raise RuntimeError('not posegpt')\n")
    return tmp_path


@pytest.mark.parametrize("program", [[SCRIPT], [sys.executable, "-m", "posegpt_cli"]])
def test_own_models_and_data_folders_do_not_shadow_ours(foreign_folder, small_generator, program):
    ran = subprocess.run(
        [*program, "actions", "--gpt", small_generator, "--json"],
        cwd=foreign_folder,
        env=os.environ | {"PYTHONPATH": str(foreign_folder)},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["actions"] == ["walk", "run", "wave"]


def test_packages_that_somebody_imported_before_us_are_named(tmp_path):
    """Such as by a sitecustomize: they cannot be put right any more."""
    for name, text in (("models", ""), ("sitecustomize", "import models")):
        (tmp_path / f"{name}.py").write_text(text)
    ran = subprocess.run(
        [SCRIPT, "doctor"], env=os.environ | {"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True
    )
    message, hint = two_lines(ran.stderr)
    assert ran.returncode == 1
    assert f"'models' from {tmp_path / 'models.py'}" in message and "PYTHONPATH" in hint
