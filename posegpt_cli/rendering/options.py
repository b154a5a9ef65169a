"""What a picture is drawn with: size, camera, renderer, colours. Imports no torch and no GL."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Self, get_args

from models.body.skeleton import BODY_TYPES, BodyType
from models.errors import PoseGPTError

CameraName = Literal["follow", "front", "side", "orbit", "fixed"]
RendererName = Literal["auto", "mesh", "skeleton", "pytorch3d"]
FloorName = Literal["checker", "grid", "plain", "none"]
LayoutName = Literal["grid", "row"]
Color = tuple[float, float, float]

BETWEEN_TITLES = "   ·   "
"""Where several motions are under one title."""
MAX_SIDE = 4096
MAX_JOBS = 64


@dataclass(frozen=True)
class RenderOptions:
    """How motions become pictures.

    Raises PoseGPTError where a value cannot be drawn.
    """

    size: tuple[int, int] = (720, 720)
    """Width and height in pixels; even numbers for .mp4."""
    fps: float = 30.0
    """Frames a second of the video; motions are resampled to it."""
    camera: CameraName = "follow"
    """follow (three-quarter front), front, side: moving along; orbit: circling; fixed: whole path in view."""
    renderer: RendererName = "auto"
    """mesh: the body by OpenGL; skeleton: bones, without; auto: the one that works; pytorch3d: on a GPU."""
    floor: FloorName = "checker"
    """Pattern of the floor; none leaves only the background and no shadow on the ground."""
    background: str = "#eef1f5"
    """Colour of the background, into which the floor fades; any name or hex code that Pillow knows."""
    color: str | None = None
    """One colour for the whole body instead of its own colours."""
    past_frames: int = 0
    """So many first frames are drawn in another colour: the given past of a forecast."""
    samples: Literal[1, 4] = 4
    """Samples a pixel along the body's outline (multisampling); 1 is faster and jagged."""
    layout: LayoutName = "grid"
    """Several motions: each in a picture of its own, or all on one floor in a row."""
    titles: tuple[str, ...] = ()
    """A line of text above each motion."""
    chapters: tuple[tuple[float, str], ...] = ()
    """From so many seconds on, this line above every motion: the segments of a timeline."""
    captions: bool = False
    """Write action labels and the frame number into the picture."""
    sheet_frames: int = 8
    """Pictures on a contact sheet."""
    trail: int = 0
    """A still of so many poses of one motion in one picture instead of a contact sheet; 0: no trail."""
    body_type: BodyType | None = None
    """The body that motions are put on; None: each motion's own (in .npz SMPL-H or SMPL-X)."""
    body_model: Path | None = None
    """Folder of official SMPL-family files; None is the body in the box."""
    jobs: int = 1
    """Processes that draw the frames of a video."""

    def __post_init__(self) -> None:
        _check_size(self.size)
        _check_choice("camera", self.camera, get_args(CameraName))
        _check_choice("renderer", self.renderer, get_args(RendererName))
        _check_choice("floor", self.floor, get_args(FloorName))
        _check_choice("layout", self.layout, get_args(LayoutName))
        if self.body_type is not None:
            _check_choice("body type", self.body_type, BODY_TYPES)
        if not 1 <= self.fps <= 240:
            raise PoseGPTError(f"a video needs 1 to 240 frames a second, got {self.fps:g}", "use --fps 30")
        if self.samples not in (1, 4):
            raise PoseGPTError(f"samples a pixel must be 1 or 4, got {self.samples}", "use 4")
        if self.sheet_frames < 1 or self.trail < 0 or self.past_frames < 0:
            raise PoseGPTError(
                "sheet frames must be 1 or more, trail and past frames 0 or more", "use larger numbers"
            )
        if not 1 <= self.jobs <= MAX_JOBS:
            raise PoseGPTError(f"jobs must be 1 to {MAX_JOBS} processes, got {self.jobs}", "use --jobs 2")
        parse_color(self.background)
        if self.color is not None:
            parse_color(self.color)

    def at_fps(self, fps: float) -> Self:
        """The same at another frame rate; past frames are counted at the picture's own."""
        return replace(self, fps=fps, past_frames=round(self.past_frames * fps / self.fps))


def _check_size(size: tuple[int, int]) -> None:
    if len(size) != 2 or not all(16 <= side <= MAX_SIDE for side in size):
        given = "x".join(str(side) for side in size)
        raise PoseGPTError(
            f"a picture needs 16 to {MAX_SIDE} pixels a side, got {given}", "use --size 720x720"
        )


def _check_choice(what: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise PoseGPTError(f"unknown {what} '{value}'", f"choose one of {', '.join(choices)}")


def parse_color(text: str) -> Color:
    """A colour's name or hex code as red, green, blue in 0..1 (sRGB)."""
    from PIL import ImageColor

    try:
        red, green, blue = ImageColor.getrgb(text)[:3]
    except ValueError:
        raise PoseGPTError(
            f"'{text}' is no colour", "use a name such as steelblue or a code such as #3f72a8"
        ) from None
    return red / 255, green / 255, blue / 255
