"""Where the server listens, and how much it does for whoever asks. Imports no web framework."""

from typing import Annotated

from pydantic import Field

from models.config import Config, Positive

LOOPBACK = ("127.0.0.1", "localhost", "::1")
"""Hosts that only this machine reaches."""


class ServerSettings(Config):
    """Where the server listens, and who may use it."""

    host: str = "127.0.0.1"
    """Address to listen at; 0.0.0.0 lets other machines in, with a token."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8765
    """Port to listen at (0: any free one)."""
    token: str | None = None
    """What other machines have to know; one is made up unless it is given."""
    open_page: bool = False
    """Open the page in the browser."""

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can ask."""
        return self.host in LOOPBACK


class Limits(Config):
    """How much one request may ask for, and how much the server holds."""

    frames: Positive = 1800
    """Frames of one motion (a minute at 30 per second)."""
    motions: Positive = 16
    """Motions of one request."""
    segments: Positive = 20
    """Segments of a timeline."""
    waiting: Positive = 128
    """Requests that wait for the generator; more are refused."""
    files_waiting: Positive = 16
    """Files that wait to be read or drawn; more are refused."""
    seconds: float = 120.0
    """Time of one generation, waiting included."""
    file_seconds: float = 180.0
    """Time to draw or write a file."""
    reading_seconds: float = 60.0
    """Time to read an uploaded file."""
    body_seconds: float = 60.0
    """Time in which a request has to arrive whole."""
    body_bytes: Positive = 1 << 20
    """Size of a request without files."""
    upload_bytes: Positive = 64 << 20
    """Size of an upload."""
    held_bytes: Positive = 128 << 20
    """Motions that are held for downloads; the oldest go first."""
    side: Positive = 1280
    """Pixels of a picture's side."""
