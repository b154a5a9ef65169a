"""What cleaning takes for contact, rest and release: constants in metres and seconds. Imports no torch."""

from models.config import Config


class CleaningSettings(Config):
    """How motion is cleaned; the defaults hold for motion at 20 to 120 frames per second."""

    contact_height: float = 0.05
    """A heel or ball of the foot lower than this (m) may be planted."""
    contact_speed: float = 0.35
    """And it is, if it is slower than this (m/s)."""
    seam_speed: float = 1.0
    """The same around the seams of a timeline, where a fade slides feet that should stand (m/s)."""
    seam_before: float = 0.1
    seam_after: float = 0.8
    """Seconds before and after a seam for which that holds."""
    palm_height: float = 0.07
    """The same for the palms, which seldom bear weight."""
    palm_speed: float = 0.3
    """The same for the palms (m/s)."""
    release: float = 0.17
    """Seconds in which a foot that lifts off goes back to its own path."""
    follow: float = 0.25
    """Time constant (s) with which the whole body follows its planted feet."""
    largest: float = 0.12
    """A foot or hand is never moved over the floor by more than this (m)."""
    rest_speed: float = 0.1
    """A body whose head, hands, feet and pelvis are all slower than this (m/s) rests, and is smoothed."""
    moving_speed: float = 0.25
    """A body with a part faster than this is not smoothed at all."""
    smoothing: float = 0.04
    """Standard deviation (s) of the Gaussian that smooths a resting body."""
    least_share: float = 0.0
    """How far every body is smoothed, 0 to 1, also while it moves: for decoders that jitter."""


DEFAULT_CLEANING = CleaningSettings()
STREAM_CLEANING = CleaningSettings(least_share=0.25)
"""Of what a streaming decoder makes: it sees no frame that is still to come, and jitters more than others."""
