"""Who may ask: host names, origins, tokens, sizes; and what the browser may do with our page. Plain ASGI."""

import asyncio
import contextlib
import hmac
import json
import re
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from posegpt_cli.serving.settings import LOOPBACK, Limits

COOKIE = "posegpt_token"
_LENGTH = re.compile(r"[0-9]{1,18}")
UPLOAD_PATHS = ("/api/uploads", "/api/characters")
CONTENT_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "connect-src 'self' data: blob:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
_HEADERS = {
    "content-security-policy": CONTENT_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}


class _RefusedError(Exception):
    """A body is larger or slower than it may be."""


class _Body:
    """A request's body as it arrives, and what is wrong with it."""

    def __init__(self, receive: Receive, largest: int, seconds: float) -> None:
        self._receive = receive
        self._largest = largest
        self._end = asyncio.get_running_loop().time() + seconds
        self._n_bytes = 0
        self._is_whole = False
        self.fault: tuple[int, str, str] | None = None

    def check_declared(self, length: str) -> None:
        """Note a Content-Length that is no number or too large."""
        if not _LENGTH.fullmatch(length) or int(length) > self._largest:
            self._note_size()

    async def receive(self) -> Message:
        """The next part; raises _RefusedError if there is too much or it takes too long."""
        if self._is_whole:  # what is left to hear of is that the other side has gone
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._end):
                message = await self._receive()
        except TimeoutError:
            self.fault = (408, "the request did not arrive in time", "try again")
            raise _RefusedError from None
        # What was declared may be a lie, and chunked bodies declare nothing: bytes are counted.
        if message["type"] == "http.request":
            self._n_bytes += len(message.get("body", b""))
            self._is_whole = not message.get("more_body", False)
            if self._n_bytes > self._largest:
                self._note_size()
                raise _RefusedError
        return message

    def _note_size(self) -> None:
        self.fault = (413, f"the request has more than {self._largest >> 20} MB", "send less")


class Guard:
    """Refuses what does not come from our own page or a program of the user."""

    def __init__(self, app: ASGIApp, token: str | None, limits: Limits) -> None:
        """
        Args:
            app: what is guarded.
            token: what every request has to know; None if only this machine can ask.
            limits: sizes and times of requests.
        """
        self._app = app
        self._token = token
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        largest = self._limits.upload_bytes if scope["path"] in UPLOAD_PATHS else self._limits.body_bytes
        body = _Body(receive, largest, self._limits.body_seconds)
        is_started = False

        async def send_guarded(message: Message) -> None:
            nonlocal is_started
            # The framework has an answer of its own to a body that breaks off; ours says why.
            if body.fault and not is_started:
                return
            if message["type"] == "http.response.start":
                is_started = True
                answer = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    answer.setdefault(name, value)
                answer.setdefault("cache-control", "no-store")
            await send(message)

        # An answer of our own is let through where the framework's is held back.
        async def answer(status: int, message: str, hint: str) -> None:
            body.fault = None
            await _answer(send_guarded, status, message, hint)

        refusal = self._refuse(scope, headers)
        if refusal is not None:
            await answer(*refusal)
            return
        if self._token and scope["path"] == "/" and "token" in _query(scope):
            # The token moves from the address, which is shown and remembered, into a cookie.
            await _answer_with_cookie(send_guarded, self._token)
            return
        # A body that is too large by its own account need not be read at all.
        body.check_declared(headers.get("content-length", "0"))
        if body.fault is None:
            with contextlib.suppress(_RefusedError):
                await self._app(scope, body.receive, send_guarded)
        if body.fault is not None and not is_started:
            await answer(*body.fault)

    def _refuse(self, scope: Scope, headers: Headers) -> tuple[int, str, str] | None:
        """Status, message and hint for who may not ask."""
        host = headers.get("host", "")
        # A foreign page can make its own name point to this machine, but not say ours in the Host header.
        if self._token is None and _host_name(host) not in LOOPBACK:
            return 421, "this server is for its own machine", "open it as http://127.0.0.1"
        # Browsers name the page that asks; programs have no origin, and are let in.
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            return 403, "another site's page may not ask this server", "open its own page"
        if headers.get("sec-fetch-site") in ("cross-site", "same-site") and scope["method"] != "GET":
            return 403, "another site's page may not ask this server", "open its own page"
        if self._token and not self._knows_token(scope, headers):
            return 401, "the token is missing", "open the address that posegpt serve printed"
        return None

    def _knows_token(self, scope: Scope, headers: Headers) -> bool:
        # Programs send a header, our page its cookie, and whoever opens the page the token in the address.
        kind, _, bearer = headers.get("authorization", "").partition(" ")
        given = [bearer] if kind.lower() == "bearer" else []
        if scope["path"] == "/":
            given += _query(scope).get("token", [])
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            cookie = None
        if cookie is not None:
            given.append(cookie.value)
        # In constant time: the time of an answer must not tell how much of a guess was right.
        expected = (self._token or "").encode()
        return any(hmac.compare_digest(each.encode(), expected) for each in given)


def _host_name(host: str) -> str:
    """The name in a Host header, without its port."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _query(scope: Scope) -> dict[str, list[str]]:
    return parse_qs(scope["query_string"].decode("latin-1"))


async def _answer(send: Any, status: int, message: str, hint: str) -> None:
    body = json.dumps({"message": message, "hint": hint}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _answer_with_cookie(send: Any, token: str) -> None:
    cookie = f"{COOKIE}={token}; Path=/; HttpOnly; SameSite=Strict"
    headers = [(b"location", b"/"), (b"set-cookie", cookie.encode()), (b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 303, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
