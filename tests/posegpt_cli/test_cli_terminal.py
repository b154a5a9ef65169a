"""What a person sees at a terminal, played through a pseudo-terminal."""

import fcntl
import os
import pty
import re
import select
import subprocess
import sys
import tempfile
import termios
from pathlib import Path
from typing import ClassVar

import pytest

from data.formats.smpl_npz import write_smpl_npz
from data.synthetic import make_motion

SCRIPT = Path(sys.executable).with_name("posegpt")


class Terminal:
    """A `posegpt` at a pseudo-terminal: stdin and stderr are the terminal, stdout is a pipe."""

    ENVIRON: ClassVar = {"TERM": "xterm-256color", "COLUMNS": "100"}

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self._state.cleanup()

    def __init__(self, *words: object, cwd: Path | None = None, **environ: str) -> None:
        self.keyboard, screen = pty.openpty()
        self._state = tempfile.TemporaryDirectory()  # histories of answers
        self.process = subprocess.Popen(
            [SCRIPT, *map(str, words)], stdin=screen, stderr=screen, stdout=subprocess.PIPE,
            env=os.environ | self.ENVIRON | {"XDG_STATE_HOME": self._state.name} | environ,
            start_new_session=True, cwd=cwd,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # so that Ctrl-C reaches it
        )  # fmt: skip
        os.close(screen)
        self.seen = ""

    @property
    def plain(self) -> str:
        """What was seen, without colours."""
        return re.sub(r"\x1b\[[\d;]*m", "", self.seen)

    def wait_for(self, text: str) -> None:
        """Read the screen until `text` stands there."""
        while text not in self.plain:
            assert self._read(), f"{text!r} never came; the screen holds: {self.seen}"

    def type(self, text: str) -> None:
        os.write(self.keyboard, text.encode())

    def finish(self) -> tuple[int, str]:
        """Exit code and stdout, the screen read to its end."""
        while self._read():
            pass
        out, _ = self.process.communicate(timeout=60)
        os.close(self.keyboard)
        return self.process.returncode, out.decode()

    def _read(self) -> bool:
        """Take what came onto the screen; False at its end, or when nothing came for long."""
        if not select.select([self.keyboard], [], [], 30)[0]:
            return False
        try:
            chunk = os.read(self.keyboard, 4096)
        except OSError:  # Linux: the other end was closed
            return False
        self.seen += chunk.decode(errors="replace")
        return bool(chunk)


def test_a_missing_action_is_asked_for_with_its_choices(small_generator, tmp_path):
    out = tmp_path / "motion.npz"
    with Terminal("sample", "--gpt", small_generator, "--device", "cpu", "--out", out) as terminal:
        terminal.wait_for("(walk): ")
        assert all(name in terminal.seen for name in ("walk", "run", "wave"))
        terminal.type("wvae\n")
        terminal.wait_for("did you mean 'wave'?")
        terminal.type("wave\n")
        terminal.wait_for("(none): ")
        terminal.type("old\n")
        terminal.wait_for("no such choice")
        terminal.type("eld\n")
        terminal.wait_for("--style elderly")
        terminal.wait_for("(usual): ")
        terminal.type("long\n")
        terminal.wait_for("expected frames or seconds")
        terminal.type("4\n")
        code, printed = terminal.finish()
        assert code == 0, terminal.seen
        assert printed.splitlines() == [str(out)] and out.is_file()


@pytest.mark.parametrize("key", ["\x03", "\x04"], ids=["ctrl-c", "ctrl-d"])
def test_ctrl_c_at_a_question_leaves(small_generator, tmp_path, key):
    """Also in the instant after the question appears, before anything reads the keyboard."""
    with Terminal("sample", "--gpt", small_generator, "--out", tmp_path / "a.npz") as terminal:
        terminal.wait_for("(walk): ")
        terminal.type(key)
        code, _ = terminal.finish()
        assert code == 130
        assert "Traceback" not in terminal.seen
        assert terminal.plain.splitlines()[-1] == "interrupted"


@pytest.mark.parametrize("command", ["sample", "render"])
def test_ctrl_c_during_the_work_is_said_on_a_line_of_its_own(small_generator, tmp_path, command):
    """The shell's prompt followed right after ^C, and nothing was said."""
    out = tmp_path / "out.gif"
    if command == "sample":
        words = ("sample", "--gpt", small_generator, "--action", "walk", "--len", 9000, "--device", "cpu")
    else:
        write_smpl_npz(tmp_path / "walk.npz", make_motion("walk", 9000))
        words = ("render", tmp_path / "walk.npz")
    with Terminal(*words, "--renderer", "skeleton", "--out", out) as terminal:
        terminal.wait_for("/s")  # the bar shows a rate: it is at work
        terminal.type("\x03")
        code, _ = terminal.finish()
        assert code == 130
        assert terminal.plain.splitlines()[-1] == "interrupted"
        assert not [path for path in tmp_path.iterdir() if path.name != "walk.npz"]


def test_missing_folders_are_asked_for(tmp_path, bvh_folder):
    with Terminal("prepare", "--label-pattern", "(?P<action>[a-z]+)") as terminal:
        terminal.wait_for("recordings: ")
        terminal.type(f"{bvh_folder}\n")
        terminal.wait_for(f"--bvh {bvh_folder}")
        terminal.wait_for("--out: ")
        terminal.type(f"{tmp_path / 'out'}\n")
        code, printed = terminal.finish()
        assert code == 0, terminal.seen
        assert printed.startswith("split")
        assert "12/12" in terminal.seen  # the progress bar


@pytest.mark.parametrize(("environ", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_no_color(environ, coloured):
    with Terminal("actions", "--gpt", "nowhere", **environ) as terminal:
        code, _ = terminal.finish()
        assert code == 1
        assert bool(re.search(r"\x1b\[[\d;]*31", terminal.seen)) is coloured


def test_tab_completes_and_arrows_bring_back_answers(small_generator, tmp_path):
    """At a question as at the shell's prompt, though stdout is a pipe."""
    (tmp_path / "data").mkdir()
    write_smpl_npz(tmp_path / "data" / "some walk.npz", make_motion("walk", 4))
    (tmp_path / "data" / "some text.txt").touch()
    out = tmp_path / "a.csv"
    state = {"XDG_STATE_HOME": str(tmp_path / "state")}
    with Terminal("export", cwd=tmp_path, **state) as terminal:
        terminal.wait_for("MOTION...: ")
        terminal.type("da\tso\t\n")
        terminal.wait_for("--out: file to write (some walk.glb): ")
        terminal.type(f"{out}\n")
        code, printed = terminal.finish()
        assert code == 0, terminal.seen
        assert printed == f"{out}\n"
    with Terminal("export", "--force", cwd=tmp_path, **state) as terminal:
        terminal.wait_for("MOTION...: ")
        terminal.type("\x1b[A\n")  # the arrow up
        terminal.wait_for("--out: ")
        terminal.type("\x1b[A\n")
        assert terminal.finish() == (0, f"{out}\n"), terminal.seen


def test_yes_never_asks(small_generator, tmp_path):
    with Terminal(
        "sample", "--gpt", small_generator, "--yes", "--len", 4, "--out", tmp_path / "a.npz"
    ) as terminal:
        assert terminal.finish()[0] == 0, terminal.seen
    with Terminal("render", "--yes") as terminal:
        code, _ = terminal.finish()
        assert code == 2 and "MOTION... is missing" in terminal.plain


def test_posegpt_alone_offers_what_to_do_next(tmp_path):
    write_smpl_npz(tmp_path / "walk.npz", make_motion("walk", 4))
    with Terminal(cwd=tmp_path) as terminal:
        terminal.wait_for("posegpt export walk.npz")
        terminal.wait_for("Which? ")
        lines = terminal.plain.splitlines()
        [number] = [line.split()[0] for line in lines if "posegpt export walk.npz" in line]
        terminal.type("99\n")
        terminal.wait_for("expected 1 to ")
        terminal.type(f"{number}\n")
        terminal.wait_for("(walk.glb): ")
        terminal.type("\n")
        assert terminal.finish() == (0, "walk.glb\n"), terminal.seen
    assert (tmp_path / "walk.glb").is_file()
    with Terminal(cwd=tmp_path) as terminal:
        terminal.wait_for("Which? ")
        terminal.type("\n")
        code, printed = terminal.finish()
        assert code == 0 and "Usage: posegpt" in printed
