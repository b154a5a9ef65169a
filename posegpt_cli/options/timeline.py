"""Timelines as they are typed: "walk 2s, wave+walk/happy 1.5s, run 60"."""

from data.actions import resolve_label, split_labels
from models.errors import PoseGPTError
from models.sampling.settings import Segment
from posegpt_cli.console import UsageError
from posegpt_cli.options.labels import resolve_labels
from posegpt_cli.options.parsing import parse_length

GRAMMAR = "ACTION[+ACTION][/STYLE] LENGTH, ..."


def parse_timeline(text: str, vocabulary: tuple[str, ...], fps: float) -> list[Segment]:
    """Segments separated by commas; a length is frames (60) or seconds (2s).

    Raises UsageError if a segment reads otherwise, and PoseGPTError for unknown labels.
    """
    return [_parse_part(part.strip(), vocabulary, fps) for part in text.split(",")]


def _parse_part(text: str, vocabulary: tuple[str, ...], fps: float) -> Segment:
    # The length is the last word; an action's name may have spaces.
    done, _, length = text.rpartition(" ")
    if not done.strip():
        raise UsageError(
            f"--timeline expected '{GRAMMAR}', got '{text}'", '--timeline "walk 2s, jump 1.5s, run 60"'
        )
    names, _ = split_labels(vocabulary)
    actions = [action.strip() for action in done.split("+")]
    style = None
    # A style stands after the last action; some actions have a slash in their own name.
    if "/" in actions[-1] and not _is_known(actions[-1], names):
        actions[-1], _, style = actions[-1].rpartition("/")
    labels = resolve_labels(actions, style, vocabulary)
    return Segment(labels, _frames(length, fps, done.strip()))


def _frames(length: str, fps: float, done: str) -> int:
    # The same grammar as --len, but the message names the segment.
    try:
        return parse_length(length, fps)
    except UsageError:
        raise UsageError(
            f"--timeline expected frames or seconds after '{done}', got '{length}'",
            f'--timeline "{done} 64", or --timeline "{done} 3.5s"',
        ) from None


def _is_known(action: str, names: list[str]) -> bool:
    try:
        resolve_label(action, names)
    except PoseGPTError:
        return False
    return True
