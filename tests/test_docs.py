"""What README and docs show is true: Python blocks run, commands and options exist, links lead somewhere."""

import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page: Path, language: str) -> list[str]:
    return [text for kind, text in _BLOCK.findall(page.read_text()) if kind == language]


def commands(page: Path) -> list[list[str]]:
    """Every `posegpt ...` line of a page's plain blocks, as words."""
    text = "\n".join(blocks(page, "")).replace("\\\n", " ")
    lines = [line.removeprefix(".venv/bin/") for line in text.splitlines()]
    return [shlex.split(line, comments=True) for line in lines if line.startswith("posegpt ")]


def test_there_is_something_to_check():
    assert sum(len(commands(page)) for page in PAGES) > 20


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_options_exist(page):
    import typer

    from posegpt_cli.app import build_app
    from posegpt_cli.training.original_spelling import original_spelling

    root = typer.main.get_command(build_app())
    for words in commands(page):
        command, rest = root, words[1:]
        if rest[:1] == ["train"]:  # the original's options are translated before they are parsed
            rest = original_spelling(rest)
        while hasattr(command, "commands") and rest and rest[0] in command.commands:
            command, rest = command.commands[rest[0]], rest[1:]
        assert not hasattr(command, "commands") or not rest or rest[0].startswith("-"), " ".join(words)
        known = {flag for p in command.params for flag in (*p.opts, *p.secondary_opts)} | {
            "--help",
            "-h",
            "-n",
        }
        flags = {word.partition("=")[0] for word in rest if re.match(r"--?[a-z]", word)}
        assert flags <= known, f"{' '.join(words)}: no {sorted(flags - known)}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), target


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_blocks_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scope: dict[str, object] = {}
    for block in blocks(page, "python"):
        exec(compile(block, str(page), "exec"), scope)
