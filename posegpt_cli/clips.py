"""The clips that `posegpt sample` is asked for: one action, or a timeline; as a plan and as JSON."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from models.checkpoint import CheckpointInfo
from models.label_facts import usual_length
from models.sampling.settings import UNKNOWN_LENGTH, USUAL, Segment
from posegpt_cli.console import UsageError, show_json, show_result
from posegpt_cli.sentences import described


@dataclass(frozen=True)
class ClipRequest:
    """What one motion should be: an action, or several one after the other."""

    labels: tuple[str, ...]
    """Of the action, or of the first one."""
    n_frames: int | Literal["usual"] | None
    """Frames of the only action; None: until it ends."""
    segments: tuple[Segment, ...] = ()
    """Of a timeline."""
    prompt: str = ""
    """The sentence that asked for it."""
    text: str = ""
    """What the only action is, in words, for a generator that was trained on texts."""


def clip_of(segments: Sequence[Segment], prompt: str) -> ClipRequest:
    """A sentence of one action is that action; a longer one is a timeline."""
    if len(segments) == 1:
        only = segments[0]
        return ClipRequest(only.labels, only.n_frames, prompt=prompt, text=only.text)
    return ClipRequest(segments[0].labels, None, tuple(segments), prompt)


def check_one_segment(clips: Sequence[ClipRequest], flag: str) -> None:
    """Raises UsageError if a flag was given that goes with one action alone."""
    if clips[0].segments:
        raise UsageError(f"{flag} is for one action, and the sentence asks for several", f"leave out {flag}")


def _planned(clip: ClipRequest, info: CheckpointInfo) -> list[dict[str, Any]]:
    """The segments of a clip as --json prints them; the length of one that has no known end is null."""
    if clip.segments:
        return described(clip.segments)
    n_frames = clip.n_frames
    if n_frames == USUAL:
        n_frames = usual_length(info.label_facts, clip.labels) or UNKNOWN_LENGTH
    text = {"text": clip.text} if clip.text else {}
    return [{"labels": list(clip.labels), "frames": n_frames} | text]


def described_clips(clips: Sequence[ClipRequest], info: CheckpointInfo) -> dict[str, Any]:
    """The segments of the only clip, or those of each prompt."""
    if len(clips) == 1:
        return {"segments": _planned(clips[0], info)}
    return {"prompts": [{"prompt": clip.prompt, "segments": _planned(clip, info)} for clip in clips]}


def show_plan(clips: Sequence[ClipRequest], info: CheckpointInfo, as_json: bool) -> None:
    """What --dry-run shows."""
    if as_json:
        show_json(described_clips(clips, info))
        return
    for clip in clips:
        parts: list[str] = []
        for part in _planned(clip, info):
            length = f" {part['frames'] / info.fps:.1f} s" if part["frames"] else ""
            names = part["labels"] or [part["text"]]
            parts.append(" + ".join(names) + length)
        show_result("; ".join(parts))
