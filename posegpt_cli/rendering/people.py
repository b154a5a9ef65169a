"""Motions to people: on our bodies, or on a character of the user's. No GL."""

from collections.abc import Sequence

from models.errors import PoseGPTError
from models.motion import Motion
from posegpt_cli.rendering.options import RenderOptions
from posegpt_cli.rendering.person import Person


def make_people(motions: Sequence[Motion], options: RenderOptions) -> list[Person]:
    """Motions at the video's frame rate, each on the body that it is for or that the options name.

    If the options name a rig, each is on that character.

    Raises PoseGPTError if the body or the rig cannot be loaded or there is no motion.
    """
    from models.body.body import load_body_of

    if not motions:
        raise PoseGPTError("there is no motion to draw", "give at least one motion")
    people: list[Person] = []
    for motion in motions:
        body = load_body_of(motion, options.body_model, options.body_type, options.body)
        # Faces and headings are read off our own body, also for a character.
        resampled = motion.to_body_type(body.body_type).resample(options.fps)
        if options.rig is None:
            people.append(Person(resampled, body))
        else:
            from posegpt_cli.rendering.character import make_character

            people.append(make_character(options.rig, resampled, body))
    return people
