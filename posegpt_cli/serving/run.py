"""The running server: uvicorn around the application, from the first request to Ctrl-C."""

import secrets
import socket
import webbrowser
from pathlib import Path
from types import FrameType

import uvicorn

from models.errors import PoseGPTError
from posegpt_cli.console import say, show_result
from posegpt_cli.serving.app import make_app
from posegpt_cli.serving.service import Service, make_service
from posegpt_cli.serving.settings import Limits, ServerSettings

_GRACE = 1
"""Seconds in which answers that are under way may end."""
_CONNECTIONS = 512


class _Server(uvicorn.Server):
    """Says what it breaks off when it stops."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        load = self._service.engine.load()
        if not self.should_exit and (load.running or load.waiting):
            say(f"stopping: {load.running} running and {load.waiting} waiting requests are broken off")
        self._service.stop()
        super().handle_exit(sig, frame)


def serve(
    settings: ServerSettings, gpt: Path | None = None, device: str = "auto", body_models: Path | None = None
) -> None:
    """Serve until the user stops it.

    Raises PoseGPTError if the port is taken or there is no such generator.
    """
    token = settings.token
    if token is None and not settings.is_loopback:
        token = secrets.token_urlsafe(18)
    # The port first: if it is taken, the user learns that before seconds are spent on loading.
    listening = _listen(settings)
    service = make_service(gpt, device, Limits(), body_models)
    port = listening.getsockname()[1]
    address = f"http://{_named(settings.host)}:{port}/" + (f"?token={token}" if token else "")
    show_result(address)
    say("MMCP for Blender: the same address with /mmcp; Ctrl-C stops")
    if settings.open_page:
        webbrowser.open(address)

    # Quiet, without a header that names the software, and without trust in headers that name other hosts.
    config = uvicorn.Config(
        make_app(service, token),
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_GRACE,
        timeout_keep_alive=15,
        limit_concurrency=_CONNECTIONS,
        proxy_headers=False,
        lifespan="off",
        ws="none",
    )
    try:
        _Server(config, service).run(sockets=[listening])
    finally:
        service.stop()


def _listen(settings: ServerSettings) -> socket.socket:
    """The socket; before anything is loaded, so that a port that is taken is said at once."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host, settings.port))
        listening.listen()  # whoever opens the address before all is loaded waits for it
    except OSError as error:
        listening.close()
        raise PoseGPTError(
            f"cannot listen at {settings.host} port {settings.port}: {error.strerror or error}",
            "choose another --port (0: any free one), or another --host",
        ) from error
    return listening


def _named(host: str) -> str:
    """A host that a browser on this machine can open."""
    if host in ("0.0.0.0", "::"):
        return socket.gethostname()
    return f"[{host}]" if ":" in host else host
