"""Motions as .html: one page that plays them in 3D in any browser, without a network."""

import base64
import html
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from models.files import write_atomically
from models.motion import Motion
from posegpt_cli.output.character_scene import character_actors, character_scene
from posegpt_cli.output.gltf import glb_bytes
from posegpt_cli.output.licences import licence_of
from posegpt_cli.rendering.camera import ELEVATION
from posegpt_cli.rendering.options import BETWEEN_TITLES, Color, RenderOptions, parse_color
from posegpt_cli.rendering.people import make_people
from posegpt_cli.rendering.scene import FUTURE_COLOR, PAST_COLOR, Animation

VIEWER = Path(__file__).parent / "viewer"


def write_page(path: Path, motions: Sequence[Motion], options: RenderOptions) -> None:
    """Write motions, several of them side by side, as a page; it replaces what is there.

    The page holds the motion as .glb, three.js with its licence, and our viewer.

    Raises PoseGPTError if the file cannot be written.
    """
    animation = Animation(make_people(motions, options), options)
    # Whatever stands in {{braces}} in page.html is replaced by the part of that name.
    parts = {
        "title": html.escape(_title(motions, options) or "posegpt"),
        "licence": html.escape(licence_of(motions)),
        "background": to_hex(parse_color(options.background)),
        # A page ends its script at the first "</script": nothing of the user's may spell it.
        "settings": json.dumps(_settings(animation, motions, options)).replace("<", "\\u003c"),
        "motion": base64.b64encode(_scene(animation, options)).decode(),
        "three_license": (VIEWER / "three.LICENSE.txt").read_text(encoding="utf-8"),
        "three": (VIEWER / "three.min.js").read_text(encoding="utf-8"),
        "stage": (VIEWER / "stage.js").read_text(encoding="utf-8"),
        "viewer": (VIEWER / "viewer.js").read_text(encoding="utf-8"),
    }
    pieces = (VIEWER / "page.html").read_text(encoding="utf-8").split("{{")
    page = pieces[0]
    for piece in pieces[1:]:
        name, _, rest = piece.partition("}}")
        page += parts[name] + rest
    write_atomically(path, page.encode(), force=True)


def to_hex(color: Color) -> str:
    """#rrggbb of a colour in 0..1."""
    red, green, blue = (np.array(color) * 255).round().astype(int).tolist()
    return f"#{red:02x}{green:02x}{blue:02x}"


def _scene(animation: Animation, options: RenderOptions) -> bytes:
    """The .glb, hands as they are drawn; plain white where the page paints past and future itself."""
    if options.rig is not None:
        return character_scene(animation.people)
    color = parse_color(options.color) if options.color else None
    if options.past_frames:
        color = (1.0, 1.0, 1.0)
    return glb_bytes(animation.people, [p.poses.numpy() for p in animation.people], color)


def _settings(animation: Animation, motions: Sequence[Motion], options: RenderOptions) -> dict[str, object]:
    """What viewer.js reads."""
    # The direction from which the page's camera looks first: that of our own cameras.
    azimuth = animation.azimuth
    elevation = np.radians(ELEVATION[options.camera])
    flat = np.cos(elevation)
    eye = np.array([np.sin(azimuth) * flat, np.sin(elevation), np.cos(azimuth) * flat])
    color = to_hex(parse_color(options.color)) if options.color else None
    # Own bodies are painted in the file; a character has its own colours after the past.
    future = color if options.rig is not None else color or to_hex(FUTURE_COLOR)
    actors: list[dict[str, object]] = [{"animation": 0, "placement": None, "pelvis": None}]
    if options.rig is not None:
        actors = character_actors(animation.people)
    return {
        "title": _title(motions, options),
        "fps": options.fps,
        "frames": len(animation),
        "licence": html.escape(licence_of(motions)),
        "background": to_hex(parse_color(options.background)),
        "floor": options.floor,
        "sun": animation.sun.round(4).tolist(),
        "eye": eye.round(4).tolist(),
        "height": round(max(p.standing_height for p in animation.people), 3),
        "past_frames": options.past_frames,
        "past_color": to_hex(PAST_COLOR),
        "future_color": future,
        "color": color if options.rig is not None else None,
        "actors": actors,
    }


def _title(motions: Sequence[Motion], options: RenderOptions) -> str:
    """The titles given, or else what each motion is called, left to right."""
    names = options.titles or [", ".join(motion.labels) or motion.name for motion in motions]
    return BETWEEN_TITLES.join(name for name in names if name)
