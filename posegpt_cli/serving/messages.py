"""What requests and answers of the HTTP API hold, as OpenAPI shows it."""

import base64
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from data.actions import STYLE_PREFIX
from models.config import Config, Seed
from models.sampling.settings import CodeSettings
from posegpt_cli.rendering.options import CameraName, FloorName
from posegpt_cli.serving.held import Held
from posegpt_cli.serving.settings import Limits

LIMITS = Limits()
Frames = Annotated[int, Field(ge=1, le=LIMITS.frames)]
Name = Annotated[str, Field(min_length=1, max_length=200)]
MotionId = Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[\w-]+$")]
Format = Literal["mp4", "gif", "png", "glb", "html", "npz", "bvh", "csv", "json"]


class SegmentBody(Config):
    """One part of a motion: what is done, how, and for how long."""

    actions: Annotated[tuple[Name, ...], Field(max_length=8)] = ()
    """Names of `GET /api/actions`; several for all at once; none leaves it to the generator."""
    style: Name | None = None
    """How it is done."""
    frames: Frames | None = None
    """Length; none is a usual length of the action."""


class SamplingBody(Config):
    """How motions are sampled."""

    n: Annotated[int, Field(ge=1, le=LIMITS.motions)] = 1
    """Number of motions."""
    seed: Annotated[Seed, Field(le=2**53)] = 0
    """Seed; motion k of several uses seed + k."""
    codes: CodeSettings = CodeSettings()
    """How a code is sampled from its distribution."""
    clean: bool = True
    """Hold planted feet, keep soles on the floor, calm what rests."""


class GenerateBody(SamplingBody):
    """A motion to be generated; its segments follow one another without a jump."""

    segments: Annotated[tuple[SegmentBody, ...], Field(min_length=1, max_length=LIMITS.segments)]
    """One for a plain action; several for a timeline."""


class ForecastBody(SamplingBody):
    """Continuations of a motion that the server holds."""

    past: MotionId
    """The `id` of an uploaded or generated motion."""
    until: Frames | None = None
    """Frames of it that are kept; none keeps all."""
    actions: Annotated[tuple[Name, ...], Field(max_length=8)] = ()
    """What comes next; none leaves it to the generator."""
    style: Name | None = None
    """How it is done."""
    frames: Frames = 64
    """Frames after the past."""


class PromptBody(Config):
    """A sentence, or a timeline as it is typed."""

    text: Annotated[str, Field(min_length=1, max_length=1000)]
    """Such as `she walks for 2 seconds, then bows`, or `walk 2s, bow 1.5s, run 60`."""


class RenderBody(Config):
    """Motions to be drawn or written as a file."""

    motions: Annotated[tuple[MotionId, ...], Field(min_length=1, max_length=LIMITS.motions)]
    """Their `id`s."""
    format: Format
    """What kind of file; several motions of a format that holds one come as .zip."""
    size: tuple[
        Annotated[int, Field(ge=64, le=LIMITS.side)], Annotated[int, Field(ge=64, le=LIMITS.side)]
    ] = (720, 720)
    """Width and height of a picture in pixels, even numbers."""
    camera: CameraName = "follow"
    """Where a picture is seen from."""
    floor: FloorName = "checker"
    """Pattern of the floor."""
    background: Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")] = "#eef1f5"
    """Colour behind it, #rrggbb."""
    character: MotionId | None = None
    """The `id` of an uploaded character that the motions are put on."""


class StageBody(Config):
    """Motions that the page plays on a character."""

    motions: Annotated[tuple[MotionId, ...], Field(min_length=1, max_length=LIMITS.motions)]
    """Their `id`s."""
    character: MotionId
    """The `id` of an uploaded character."""


class Answer(BaseModel):
    """Base of answers."""

    model_config = ConfigDict(use_attribute_docstrings=True)


class MotionAnswer(Answer):
    """A motion that the server holds."""

    id: str
    """Its name in later requests."""
    name: str
    labels: list[str]
    frames: int
    fps: float
    seed: int | None = None
    """Of a generated motion."""
    past_frames: int = 0
    """First frames that were given, of a forecast."""
    licence: str = ""
    """Terms of the weights that generated it."""
    notes: list[str] = []
    """What the reader of an uploaded file found out or put right."""
    data: str
    """Base64 of little-endian 32-bit floats, (frames, 3 + 3 J): for each frame the translation in metres, Y
    up, and the rotation vectors of J joints, the root's first."""


class MotionsAnswer(Answer):
    """Motions that were generated."""

    motions: list[MotionAnswer]


class CharacterAnswer(Answer):
    """A character that the server holds."""

    id: str
    """Its name in later requests."""
    name: str
    notes: list[str] = []
    """What there is to say of it, such as joints that it lacks."""


class StageAnswer(Answer):
    """Motions on a character, side by side."""

    glb: str
    """Base64 of a .glb."""
    actors: list[dict[str, Any]]
    """For each motion its `animation`, the `placement` of its world in ours (a column-major matrix), and the
    node that carries it, `pelvis`."""


class SegmentsAnswer(Answer):
    """A prompt, understood."""

    segments: list[SegmentBody]
    """For `POST /api/generate`."""
    notes: list[str] = []
    """What was taken for what."""


class ActionAnswer(Answer):
    """An action or style that the generator knows."""

    name: str
    frames: int | None = None
    """Its median length."""
    quality: str = ""
    """good, fair or weak, as far as it was measured."""


class ActionsAnswer(Answer):
    """What the generator knows, and what the page needs to show it."""

    actions: list[ActionAnswer]
    styles: list[ActionAnswer]
    fps: float
    body_type: str
    joints: list[str]
    """Names, in the order of the rotation vectors."""
    pelvis: tuple[float, float, float]
    """Where the pelvis of the body at rest stands when the translation is zero, metres."""
    height: float
    """Of the body at rest, metres."""
    licence: str
    limits: Limits


class HealthAnswer(Answer):
    """Whether the server is well, and what it has to do."""

    status: Literal["ok"] = "ok"
    version: str
    running: int
    """Requests that are being generated."""
    waiting: int


class ErrorAnswer(Answer):
    """Why a request was refused."""

    message: str
    hint: str = ""


def segment_body(labels: Sequence[str], frames: int | None) -> SegmentBody:
    """A segment of labels as a request has it."""
    styles = [label.removeprefix(STYLE_PREFIX) for label in labels if label.startswith(STYLE_PREFIX)]
    actions = tuple(label for label in labels if not label.startswith(STYLE_PREFIX))
    return SegmentBody(actions=actions, style=styles[0] if styles else None, frames=frames)


def describe(held: Held, seed: int | None = None) -> MotionAnswer:
    """A held motion as an answer."""
    motion = held.motion
    return MotionAnswer(
        id=held.id,
        name=motion.name,
        labels=list(motion.labels),
        frames=motion.n_frames,
        fps=motion.fps,
        seed=seed,
        past_frames=held.past_frames,
        licence=motion.licence,
        notes=list(motion.notes),
        data=pack(motion.poses, motion.trans),
    )


def pack(poses: NDArray[np.floating], trans: NDArray[np.floating]) -> str:
    """Poses (t, J, 3) and trans (t, 3) as `MotionAnswer.data`."""
    # Binary, because numbers as text would be four times as large and slow to read.
    values = np.concatenate([trans, poses.reshape(len(trans), -1)], axis=1)
    return base64.b64encode(values.astype("<f4").tobytes()).decode()


def pack_all(poses: NDArray[np.floating], trans: NDArray[np.floating]) -> Sequence[str]:
    """The same of n motions at once, (n, t, J, 3) and (n, t, 3)."""
    return [pack(*one) for one in zip(poses, trans, strict=True)]
