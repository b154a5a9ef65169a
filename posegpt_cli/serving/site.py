"""The page and its parts, all held in memory: no path from a request ever reaches the disk."""

import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import Response

from posegpt_cli.output.page import VIEWER

PAGE = Path(__file__).parent / "page"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
SHARED = ("three.min.js", "three.LICENSE.txt", "stage.js")
"""Parts of the page that .html files hold too."""


@dataclass(frozen=True, eq=False)
class Part:
    """One file of the page."""

    content: bytes
    packed: bytes
    type: str
    tag: str
    """Changes with the content: what a browser has already is not sent again."""


def read_parts() -> dict[str, Part]:
    """All files of the page by name."""
    paths = [*PAGE.iterdir(), *(VIEWER / name for name in SHARED)]
    parts: dict[str, Part] = {}
    for path in sorted(paths):
        if path.suffix in _TYPES:
            content = path.read_bytes()
            tag = f'"{hashlib.sha256(content).hexdigest()[:20]}"'
            parts[path.name] = Part(content, gzip.compress(content), _TYPES[path.suffix], tag)
    return parts


def make_router() -> APIRouter:
    """Routes of the page."""
    router = APIRouter(include_in_schema=False)
    parts = read_parts()

    @router.get("/")
    async def index(request: Request) -> Response:
        return _send(parts["index.html"], request)

    @router.get("/page/{name}")
    async def part(name: str, request: Request) -> Response:
        if name not in parts:
            raise HTTPException(404)
        return _send(parts[name], request)

    return router


def _send(part: Part, request: Request) -> Response:
    headers = {"cache-control": "no-cache", "etag": part.tag, "vary": "accept-encoding"}
    # A browser that has it already need not load it again; a new version of posegpt has other tags.
    if request.headers.get("if-none-match") == part.tag:
        return Response(status_code=304, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["content-encoding"] = "gzip"
        return Response(part.packed, media_type=part.type, headers=headers)
    return Response(part.content, media_type=part.type, headers=headers)
