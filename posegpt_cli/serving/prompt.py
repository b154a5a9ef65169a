"""Prompts: what is typed on the page, as segments."""

from data.actions import STYLE_PREFIX
from models.errors import PoseGPTError
from posegpt_cli.options.labels import resolve_labels
from posegpt_cli.options.timeline import parse_timeline
from posegpt_cli.serving.messages import SegmentBody, SegmentsAnswer


def understand(text: str, vocabulary: tuple[str, ...], fps: float) -> SegmentsAnswer:
    """The segments of a timeline as it is typed, or of a plain action.

    Raises PoseGPTError if it is neither.
    """
    try:
        segments = parse_timeline(text, vocabulary, fps)
    except PoseGPTError as error:
        # Without a length it may still be an action, such as "walk" or "bow".
        try:
            labels = resolve_labels([text.strip()], None, vocabulary)
        except PoseGPTError:
            raise error from None
        return SegmentsAnswer(segments=[SegmentBody(actions=labels)])
    return SegmentsAnswer(segments=[_body_of(segment.labels, segment.n_frames) for segment in segments])


def _body_of(labels: tuple[str, ...], n_frames: int | None) -> SegmentBody:
    styles = [label.removeprefix(STYLE_PREFIX) for label in labels if label.startswith(STYLE_PREFIX)]
    actions = tuple(label for label in labels if not label.startswith(STYLE_PREFIX))
    return SegmentBody(actions=actions, style=styles[0] if styles else None, frames=n_frames)
