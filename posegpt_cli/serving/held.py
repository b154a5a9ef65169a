"""Motions that the server holds for downloads and forecasts: by secret names, the oldest forgotten first."""

import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass

from models.errors import PoseGPTError
from models.motion import Motion


@dataclass(frozen=True, eq=False)
class Held:
    """A motion that can be asked for by its name."""

    id: str
    motion: Motion
    past_frames: int = 0
    """First frames that were given, of a forecast."""


class UnknownMotionError(PoseGPTError):
    """What is asked for is not held, or no longer."""


@dataclass(frozen=True)
class Character:
    """A character of the user's own."""

    id: str
    name: str
    content: bytes


class HeldCharacters:
    """The latest characters, by secret names."""

    def __init__(self, largest: int) -> None:
        self._largest = largest
        self._held: OrderedDict[str, Character] = OrderedDict()

    def add(self, name: str, content: bytes) -> Character:
        """Hold a character under a new name; the oldest go when there are too many bytes."""
        character = Character(secrets.token_urlsafe(9), name, content)
        self._held[character.id] = character
        while len(self._held) > 1 and sum(len(each.content) for each in self._held.values()) > self._largest:
            self._held.popitem(last=False)
        return character

    def get(self, name: str) -> Character:
        """What was given that name; raises UnknownMotionError."""
        if name not in self._held:
            raise UnknownMotionError("the server does not hold this character any more", "drop it again")
        return self._held[name]


class HeldMotions:
    """Motions in memory, up to a number of bytes."""

    def __init__(self, largest: int) -> None:
        self._largest = largest
        self._size = 0
        self._held: OrderedDict[str, Held] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, motion: Motion, past_frames: int = 0) -> Held:
        """Hold a motion under a new name."""
        held = Held(secrets.token_urlsafe(9), motion, past_frames)
        with self._lock:
            self._held[held.id] = held
            self._size += _size(motion)
            # The newest stays, however large it is: somebody has just asked for it.
            while self._size > self._largest and len(self._held) > 1:
                _, oldest = self._held.popitem(last=False)
                self._size -= _size(oldest.motion)
        return held

    def get(self, name: str) -> Held:
        """What was given that name; raises UnknownMotionError."""
        with self._lock:
            if name not in self._held:
                raise UnknownMotionError("the server does not hold this motion any more", "generate it again")
            # Whoever is asked for stays longer.
            self._held.move_to_end(name)
            return self._held[name]


def _size(motion: Motion) -> int:
    return motion.poses.nbytes + motion.trans.nbytes
