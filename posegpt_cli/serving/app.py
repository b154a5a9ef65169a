"""The web application: page, API and MMCP behind one guard, with errors as message and hint."""

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from models import __version__
from models.errors import PoseGPTError, SettingsError, one_line
from posegpt_cli.serving import api, site
from posegpt_cli.serving.generating.jobs import BusyError
from posegpt_cli.serving.held import UnknownMotionError
from posegpt_cli.serving.mmcp import make_mmcp
from posegpt_cli.serving.security import Guard
from posegpt_cli.serving.service import Service
from posegpt_cli.serving.workers import TooSlowError

_ABOUT = """
Generate and continue 3D human motion.

With `Accept: text/event-stream` motion comes while it is made. Motions are held for a while, so that they can
be drawn, written to files and continued by their `id`. MMCP for Blender and other programs is at `/mmcp`.
"""


def make_app(service: Service, token: str | None = None) -> ASGIApp:
    """The application of a service.

    Args:
        service: what answers.
        token: what every request has to know; None if only this machine can ask.
    """
    # Without the framework's own pages for the schema: they load scripts from elsewhere.
    app = FastAPI(title="posegpt", version=__version__, description=_ABOUT, docs_url=None, redoc_url=None)
    app.state.service = service
    app.include_router(api.router)
    app.include_router(site.make_router())

    # The protocol has its own idea of errors, so that its endpoints are an application of their own.
    app.mount("/mmcp", make_mmcp(service))

    @app.exception_handler(PoseGPTError)
    async def refuse(request: Request, error: PoseGPTError) -> JSONResponse:
        headers = {"retry-after": "2"} if isinstance(error, BusyError) else None
        return JSONResponse(_words(error.message, error.hint), _status(error), headers)

    @app.exception_handler(RequestValidationError)
    async def refuse_body(request: Request, error: RequestValidationError) -> JSONResponse:
        first: dict[str, Any] = dict(error.errors()[0])
        place = ".".join(str(part) for part in first["loc"][1:])
        return JSONResponse(_words(one_line(f"{place}: {first['msg']}".lstrip(": ")), "/openapi.json"), 422)

    @app.exception_handler(HTTPException)
    async def refuse_plainly(request: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse(_words(one_line(error.detail), ""), error.status_code, error.headers)

    return Guard(app, token, service.limits)


def _status(error: PoseGPTError) -> int:
    if isinstance(error, UnknownMotionError):
        return 404
    if isinstance(error, BusyError):
        return 503
    if isinstance(error, TooSlowError):
        return 504
    return 422 if isinstance(error, SettingsError) else 400


def _words(message: str, hint: str) -> dict[str, str]:
    return {"message": message, "hint": hint}
