"""What `posegpt` alone offers on a terminal: commands that fit what lies in the folder. Imports no torch."""

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from posegpt_cli.console import say
from posegpt_cli.next_steps import FINE_TUNE, newest_run
from posegpt_cli.questions import read_line

_MOTIONS = (".npz", ".bvh", ".amc")
_RECORDINGS = (".bvh", ".amc")
_STORES = ("*/smpl*/*/*/manifest.json", "*/smpl*/*/*/*/manifest.json")
"""Where a data set's manifests lie. Narrow, because a home folder is large."""
_MANY = 3
"""From this many recordings on, a folder is worth a data set."""


@dataclass(frozen=True)
class Suggestion:
    """A command, and why it is offered."""

    words: tuple[str, ...]
    why: str


def suggest(folder: Path) -> list[Suggestion]:
    """Commands that fit what lies in a folder, the likeliest first."""
    # The bundled generator is always there.
    found = [Suggestion(("sample",), "generate motion for an action")]
    generator = _run_in(folder, "gpt")
    tokenizer = _run_in(folder, "vqvae")
    if generator:
        found.insert(0, Suggestion(("sample", "--gpt", generator), "generate with your own generator"))

    # The newest motion file is probably what the person has just made or downloaded.
    motion = _newest(path for path in folder.iterdir() if path.suffix.lower() in _MOTIONS)
    if motion:
        video = f"{motion.stem}.mp4"
        if not (folder / video).exists():
            found.append(Suggestion(("render", motion.name, "--out", video), f"draw {motion.name}"))
        found.append(Suggestion(("forecast", motion.name), f"continue {motion.name}"))
        found.append(Suggestion(("export", motion.name), "for Blender, Unity, a browser"))

    data_sets = _data_sets(folder)

    # What follows in training comes first: whoever has prepared data wants to go on.
    for data in data_sets:
        if tokenizer and not generator:
            command = ("train", "gpt", "--data", data, "--vqvae", tokenizer, "--preset", "tiny")
            found.insert(0, Suggestion(command, "train the generator"))
        elif not tokenizer:
            begin = ("train", "vqvae", "--data", data, "--preset", "tiny")
            found.insert(0, Suggestion(begin, "train a tokenizer of your own"))
            fine_tune = ("train", "gpt", "--data", data, *FINE_TUNE)
            if not generator:
                found.insert(0, Suggestion(fine_tune, "fine-tune the bundled generator"))

    # Recordings without a data set: that is where the way to an own model begins.
    if not data_sets:
        for recordings, option in _recordings(folder):
            words = ("prepare", option, recordings, "--out", "dataset")
            found.append(Suggestion(words, "make training data of these recordings"))
    found.append(Suggestion(("doctor",), "check this installation"))
    return found


def choose(folder: Path) -> list[str]:
    """The words of the command that the person at the terminal chooses; --help if none."""
    offers = suggest(folder)
    # Commands in a column, so that the reasons stand below each other.
    width = max(len(shlex.join(offer.words)) for offer in offers)
    numbered = {str(k): offer for k, offer in enumerate(offers, start=1)}
    for number, offer in numbered.items():
        say(f"{number:>2}  posegpt {shlex.join(offer.words):{width}}  {offer.why}")
    while True:
        answer = read_line("Which? (a number, or Enter for the help) ", history="offers")
        if not answer:
            return ["--help"]
        if answer in numbered:
            return list(numbered[answer].words)
        say(f"expected 1 to {len(offers)}")


def _newest(paths: Iterable[Path]) -> Path | None:
    files = [path for path in paths if path.is_file()]
    return max(files, key=lambda path: path.stat().st_mtime, default=None)


def _run_in(folder: Path, stage: str) -> str | None:
    """The newest run of a stage below a folder, as it is given to a command."""
    run = newest_run(folder / "runs", stage)
    return run.relative_to(folder).as_posix() if run else None


def _data_sets(folder: Path) -> list[str]:
    """Folders below this one that `prepare` wrote, as --data takes them."""
    names = dict[str, None]()
    for pattern in _STORES:
        for path in folder.glob(pattern):
            names[path.relative_to(folder).parts[0]] = None
    return list(names)


def _recordings(folder: Path) -> list[tuple[str, str]]:
    """Folders with several recordings, this one included, and the options of prepare for them."""
    inner = sorted(path for path in folder.iterdir() if path.is_dir())
    found = []
    for suffix in _RECORDINGS:
        # Folders of actions may lie within: one deeper, but not from here, where anything may lie.
        counts = {folder: len(list(folder.glob(f"*{suffix}")))}
        for place in inner:
            counts[place] = sum(len(list(place.glob(depth + suffix))) for depth in ("*", "*/*"))
        for place, n in counts.items():
            if n >= _MANY:
                found.append((place.relative_to(folder).as_posix(), f"--{suffix.removeprefix('.')}"))
    return found
