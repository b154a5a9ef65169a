"""What a picture is drawn with: size, camera, renderer, colours. Imports no torch and no GL."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator

from models.body.skeleton import BodyType
from models.config import Config, Positive
from models.errors import SettingsError

CameraName = Literal["follow", "front", "side", "orbit", "fixed"]
RendererName = Literal["auto", "mesh", "skeleton", "pytorch3d"]
FloorName = Literal["checker", "grid", "plain", "none"]
LayoutName = Literal["grid", "row"]
BodyName = Literal["neutral", "female"]
Color = tuple[float, float, float]

BETWEEN_TITLES = "   ·   "
"""Where several motions are under one title."""
MAX_SIDE = 4096
MAX_JOBS = 64


class BodyOptions(Config):
    """Whose body a motion is put on."""

    body_type: BodyType | None = None
    """Body to draw or write."""
    body: BodyName | None = None
    """Proportions of the bundled body (none: neutral), or the gender of official files."""
    body_model: Path | None = None
    """Folder of official SMPL-family files (none: POSEGPT_BODY_MODELS, or else the bundled body)."""
    rig: str | None = None
    """Put the motion on a character: your own .glb, .gltf, .vrm, .bvh or .fbx, or a skeleton: mixamo, \
unreal, unity, vrm, rigify, daz, cc, smpl."""


class RenderOptions(BodyOptions):
    """How motions become pictures.

    Raises SettingsError if a value cannot be drawn.
    """

    renderer: RendererName = "auto"
    """mesh: the body, by OpenGL; skeleton: bones, without OpenGL; auto: mesh if OpenGL works; pytorch3d: \
the body on a GPU, with that package."""
    camera: CameraName = "follow"
    """follow, front, side: moving along; orbit: circling; fixed: the whole path in view."""
    size: tuple[int, int] = (720, 720)
    """Width and height in pixels; even numbers for .mp4."""
    fps: float = 30.0
    """Frames per second of videos, .glb and .html; motions are resampled to it."""
    floor: FloorName = "checker"
    """Pattern of the floor; none: only the background, and no shadow."""
    background: str = "#eef1f5"
    """Colour behind it, into which the floor fades: a name or #rrggbb."""
    color: str | None = None
    """One colour for the whole body: a name or #rrggbb."""
    past_frames: Annotated[int, Field(ge=0)] = 0
    """First frames that are drawn in another colour: the given past of a forecast."""
    contacts: bool = False
    """Mark planted feet: a disc under each heel and ball that rests on the floor."""
    multisampling: bool = True
    """Smooth outlines; without it drawing is faster."""
    layout: LayoutName = "grid"
    """Several motions: grid: each in a picture of its own; row: all on one floor."""
    titles: tuple[str, ...] = ()
    """Text above a motion; one for each."""
    captions: bool = False
    """Write labels and frame numbers."""
    sheet_frames: Positive = 8
    """Pictures on a contact sheet."""
    trail: Annotated[int, Field(ge=0)] = 0
    """As .png: this many poses in one picture, fading, instead of a contact sheet (0: no trail)."""
    jobs: Annotated[int, Field(ge=1, le=MAX_JOBS)] = 1
    """Processes that draw the frames of a video; on two cores more than 1 gains nothing."""

    @field_validator("size")
    @classmethod
    def _check_size(cls, size: tuple[int, int]) -> tuple[int, int]:
        if not all(16 <= side <= MAX_SIDE for side in size):
            given = "x".join(map(str, size))
            raise SettingsError(
                f"size must be 16 to {MAX_SIDE} pixels per side, got {given}", "size=720x720", "size"
            )
        return size

    @field_validator("fps")
    @classmethod
    def _check_fps(cls, fps: float) -> float:
        if not 1 <= fps <= 240:
            raise SettingsError(f"fps must be 1 to 240 frames per second, got {fps:g}", "fps=30", "fps")
        return fps

    @field_validator("background", "color")
    @classmethod
    def _check_color(cls, color: str | None) -> str | None:
        if color is not None:
            parse_color(color)
        return color

    @property
    def samples(self) -> int:
        """Samples per pixel along the body's outline."""
        return 4 if self.multisampling else 1

    def at_fps(self, fps: float) -> Self:
        """The same at another frame rate; past frames are counted at the picture's own."""
        return self.replaced(fps=fps, past_frames=round(self.past_frames * fps / self.fps))


def parse_color(text: str) -> Color:
    """A colour's name or hex code as red, green, blue in 0..1 (sRGB)."""
    from PIL import ImageColor

    try:
        red, green, blue = ImageColor.getrgb(text)[:3]
    except ValueError:
        raise SettingsError(
            f"'{text}' is no colour", "use a name such as steelblue or a code such as #3f72a8"
        ) from None
    return red / 255, green / 255, blue / 255
