"""Jobs of the generator: what a request asks for, and what it hears while it is made."""

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from models.errors import PoseGPTError
from models.motion import Motion
from models.sampling.plans import Plans


@dataclass(frozen=True)
class Progress:
    """How far a job is."""

    done: int
    """Tokens."""
    total: int


@dataclass(frozen=True, eq=False)
class Preview:
    """Frames as they are made, from the streaming decoder; the finished motions take their place."""

    first: int
    """Number of the first of these frames."""
    poses: NDArray[np.floating]
    """(n, t, J, 3) rotation vectors."""
    trans: NDArray[np.floating]
    """(n, t, 3) metres."""


@dataclass(frozen=True, eq=False)
class Finished:
    """The motions of a job."""

    motions: list[Motion]


@dataclass(frozen=True)
class Failed:
    """Why a job has no motions."""

    message: str
    hint: str = ""
    is_timeout: bool = False
    is_internal: bool = False


Event = Progress | Preview | Finished | Failed


class BusyError(PoseGPTError):
    """More is waiting than the server takes."""


_numbers = itertools.count(1)


@dataclass(eq=False)
class Job:
    """One request for motions."""

    start: Callable[[], Plans]
    """Makes the plans of the request; may raise PoseGPTError."""
    on_event: Callable[[Event], None]
    """Called from the engine's thread."""
    seconds: float
    """How long it may take, waiting included."""
    clean: bool = True
    """Whether the motions are cleaned."""
    kept: int = 0
    """First frames that stay as they were given."""
    wants_preview: bool = False
    """Whether somebody watches while it is made."""
    number: int = field(default_factory=lambda: next(_numbers))
    begun: float = field(default_factory=time.monotonic)
    is_over: bool = False
    """Finished, failed or cancelled."""

    def is_late(self) -> bool:
        """Whether its time is up."""
        return time.monotonic() > self.begun + self.seconds

    def tell(self, event: Event) -> None:
        """Pass an event on, unless nobody waits for it any more."""
        # A cancelled job may still be in a pass for a moment.
        if self.is_over:
            return
        self.is_over = isinstance(event, Finished | Failed)
        self.on_event(event)
