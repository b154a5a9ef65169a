"""The HTTP API: actions, prompts, generation, forecasts, uploads and files, as OpenAPI describes them."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import aclosing
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, File, HTTPException, Request, UploadFile
from fastapi.responses import JSONResponse, Response, StreamingResponse

from data.actions import STYLE_PREFIX, split_labels
from models import __version__
from models.body.skeleton import JOINT_NAMES
from models.errors import PoseGPTError
from models.label_facts import LabelFacts
from models.motion import Motion
from posegpt_cli.rendering.options import RenderOptions
from posegpt_cli.serving import files
from posegpt_cli.serving.generating.jobs import Failed, Finished, Preview, Progress
from posegpt_cli.serving.messages import (
    ActionAnswer,
    ActionsAnswer,
    CharacterAnswer,
    ErrorAnswer,
    ForecastBody,
    GenerateBody,
    HealthAnswer,
    MotionAnswer,
    MotionId,
    MotionsAnswer,
    PromptBody,
    RenderBody,
    SegmentsAnswer,
    StageAnswer,
    StageBody,
    describe,
    pack_all,
    segment_body,
)
from posegpt_cli.serving.service import JobOf, Service

_T = TypeVar("_T")
_LISTEN_SECONDS = 0.1
"""How often it is asked whether the other side has gone."""
EVENTS = "text/event-stream"
_GIF_SIDE = 480
"""Pixels of a .gif's side at most: larger ones take tens of megabytes."""
_REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorAnswer, "description": "It cannot be done like this."},
    404: {"model": ErrorAnswer, "description": "The server does not hold this motion (any more)."},
    413: {"model": ErrorAnswer, "description": "The request is too large."},
    422: {"model": ErrorAnswer, "description": "The request reads wrong."},
    503: {"model": ErrorAnswer, "description": "Too much is waiting; Retry-After says when to ask again."},
    504: {"model": ErrorAnswer, "description": "It took too long."},
}
_STREAMED: dict[int | str, dict[str, Any]] = {
    **_REFUSALS,
    200: {
        "model": MotionsAnswer,
        "description": "The motions. With `Accept: text/event-stream` events instead: `progress` (done, "
        "total), `frames` (first, data of each motion; a preview), then `done` (the motions) or `error`.",
        "content": {EVENTS: {"schema": {"type": "string"}}},
    },
}
router = APIRouter(prefix="/api", responses=_REFUSALS)


def service_of(request: Request) -> Service:
    """The service that the app was made with."""
    service: Service = request.app.state.service
    return service


Serving = Annotated[Service, Depends(service_of)]


@router.get("/health")
async def health(service: Serving) -> HealthAnswer:
    """Whether the server is well, and what it has to do."""
    load = service.engine.load()
    return HealthAnswer(version=__version__, running=load.running, waiting=load.waiting)


@router.get("/actions")
async def actions(service: Serving) -> ActionsAnswer:
    """The actions and styles that the generator knows, and its limits."""
    generator = service.generator
    names, styles = split_labels(generator.labels)
    return ActionsAnswer(
        actions=[_known(service, name, name) for name in names],
        styles=[_known(service, name, STYLE_PREFIX + name) for name in styles],
        fps=generator.fps,
        body_type=generator.body_type,
        joints=list(JOINT_NAMES[generator.body_type]),
        pelvis=service.pelvis,
        height=service.height,
        licence=generator.licence,
        limits=service.limits,
    )


@router.get("/body", response_class=Response, responses={200: {"content": {"model/gltf-binary": {}}}})
async def body(service: Serving) -> Response:
    """The body at rest as .glb; its bones are called like the joints of `GET /api/actions`."""
    return Response(service.body_glb, media_type="model/gltf-binary")


@router.post("/prompt")
async def prompt(asked: PromptBody, service: Serving) -> SegmentsAnswer:
    """The segments that a prompt asks for."""
    understood = service.prompts.read(asked.text)
    return SegmentsAnswer(
        segments=[segment_body(part.labels, part.n_frames) for part in understood.parts],
        notes=list(understood.notes),
    )


@router.post("/generate", response_model=MotionsAnswer, responses=_STREAMED)
async def generate(asked: GenerateBody, request: Request, service: Serving) -> Response:
    """Motions of an action, or along a timeline."""
    # Labels are looked up before the answer begins, so that a misspelt one is an error and not an event.
    is_streamed = wants_events(request)
    job = service.generation(asked, is_streamed)

    def answer(motions: list[Motion]) -> MotionsAnswer:
        described: list[MotionAnswer] = []
        for k, motion in enumerate(motions):
            described.append(describe(service.held.add(motion), asked.seed + k))
        return MotionsAnswer(motions=described)

    return await _answer(service, request, job, answer, is_streamed)


@router.post("/forecast", response_model=MotionsAnswer, responses=_STREAMED)
async def forecast(asked: ForecastBody, request: Request, service: Serving) -> Response:
    """Continuations of a motion that was uploaded or generated before."""
    past = service.held.get(asked.past).motion
    if asked.until is not None:
        past = past.crop(0, min(asked.until, past.n_frames))
    is_streamed = wants_events(request)
    job = service.forecast(asked, past, is_streamed)

    def answer(motions: list[Motion]) -> MotionsAnswer:
        described: list[MotionAnswer] = []
        for k, motion in enumerate(motions):
            held = service.held.add(motion, past_frames=past.n_frames)
            described.append(describe(held, asked.seed + k))
        return MotionsAnswer(motions=described)

    return await _answer(service, request, job, answer, is_streamed)


@router.post("/uploads")
async def upload(
    file: Annotated[list[UploadFile], File(description="A .npz, .bvh or .amc (with its .asf).")],
    service: Serving,
) -> MotionAnswer:
    """Read a motion file, for forecasts and downloads."""
    contents = [(each.filename or "", await each.read()) for each in file]
    motion = await service.reader.run(
        files.read_upload,
        contents,
        service.generator.fps,
        service.limits,
        seconds=service.limits.reading_seconds,
    )
    # The page's body has fewer joints than some files: what it plays is what it can go on from.
    motion = motion.to_body_type(service.generator.body_type)
    return describe(service.held.add(motion))


@router.post("/characters")
async def character(
    file: Annotated[UploadFile, File(description="A .glb or .vrm.")], service: Serving
) -> CharacterAnswer:
    """Take a character of one's own, to play and write motions on it."""
    upload = (file.filename or "", await file.read())
    work = service.reader.run(files.read_character, upload, seconds=service.limits.reading_seconds)
    notes = await work
    held = service.characters.add(*upload)
    return CharacterAnswer(id=held.id, name=held.name, notes=notes)


@router.post("/stage")
async def stage(asked: StageBody, request: Request, service: Serving) -> StageAnswer:
    """Motions on a character, for the page to play."""
    character = service.characters.get(asked.character)
    motions = [service.held.get(name).motion for name in asked.motions]
    options = RenderOptions(fps=service.generator.fps, body_model=service.body_models)
    work = service.drawer.run(
        files.put_on_stage,
        motions,
        options,
        (character.name, character.content),
        seconds=service.limits.file_seconds,
    )
    glb, actors = await _unless_gone(request, work)
    return StageAnswer(glb=base64.b64encode(glb).decode(), actors=actors)


@router.get("/motions/{motion_id}")
async def motion(motion_id: MotionId, service: Serving) -> MotionAnswer:
    """A motion that the server holds."""
    return describe(service.held.get(motion_id))


@router.post(
    "/render",
    response_class=Response,
    responses={**_REFUSALS, 200: {"content": {"application/octet-stream": {}}, "description": "The file."}},
)
async def render(asked: RenderBody, request: Request, service: Serving) -> Response:
    """Draw motions, or write them for other programs."""
    # All that is asked for must be held, before anything is drawn.
    held = [service.held.get(name) for name in asked.motions]
    character = None
    if asked.character is not None:
        own = service.characters.get(asked.character)
        character = (own.name, own.content)
    width, height = asked.size
    if asked.format == "gif":
        width, height = min(width, _GIF_SIDE), min(height, _GIF_SIDE)
    # H.264 wants even numbers.
    options = RenderOptions(
        size=(width // 2 * 2, height // 2 * 2),
        camera=asked.camera,
        floor=asked.floor,
        background=asked.background,
        fps=service.generator.fps,
        past_frames=held[0].past_frames,
        body_model=service.body_models,
    )
    work = service.drawer.run(
        files.write_files,
        [each.motion for each in held],
        f".{asked.format}",
        options,
        character,
        seconds=service.limits.file_seconds,
    )
    name, content = await _unless_gone(request, work)
    return Response(
        content,
        media_type=files.MEDIA_TYPES[name.rpartition(".")[2]],
        headers={"content-disposition": f'attachment; filename="{name}"'},
    )


def wants_events(request: Request) -> bool:
    """Whether the client asked for a stream of events."""
    return EVENTS in request.headers.get("accept", "")


async def _answer(
    service: Service,
    request: Request,
    job: JobOf,
    answer: Callable[[list[Motion]], MotionsAnswer],
    is_streamed: bool,
) -> Response:
    if is_streamed:
        return StreamingResponse(_events(service, job, answer), media_type=EVENTS)
    end = await _unless_gone(request, service.last_event(job))
    if isinstance(end, Finished):
        return JSONResponse(answer(end.motions).model_dump())
    return failure(end)


async def _unless_gone(request: Request, work: Coroutine[Any, Any, _T]) -> _T:
    """What the work gives; it is cancelled when whoever asked has gone, so that its place is free."""
    # Whichever comes first ends the other.
    done = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_wait_until_gone(request))
    try:
        await asyncio.wait([done, gone], return_when=asyncio.FIRST_COMPLETED)
        if not done.done():
            raise HTTPException(499, "the request was cancelled")
        return done.result()
    finally:
        done.cancel()
        gone.cancel()


async def _wait_until_gone(request: Request) -> None:
    while not await request.is_disconnected():
        await asyncio.sleep(_LISTEN_SECONDS)


async def _events(
    service: Service, job: JobOf, answer: Callable[[list[Motion]], MotionsAnswer]
) -> AsyncIterator[bytes]:
    """Server-sent events of a job."""
    try:
        async with aclosing(service.events_of(job)) as events:  # type: ignore[type-var]
            async for event in events:
                if isinstance(event, Progress):
                    yield _event("progress", {"done": event.done, "total": event.total})
                elif isinstance(event, Preview):
                    data = pack_all(event.poses, event.trans)
                    yield _event("frames", {"first": event.first, "data": data})
                elif isinstance(event, Finished):
                    yield _event("done", answer(event.motions).model_dump())
                else:
                    yield _event("error", {"message": event.message, "hint": event.hint})
    except PoseGPTError as error:
        yield _event("error", {"message": error.message, "hint": error.hint})


def _event(name: str, value: object) -> bytes:
    return f"event: {name}\ndata: {json.dumps(value)}\n\n".encode()


def failure(end: Failed) -> JSONResponse:
    """The answer for a job that failed."""
    status = 400
    if end.is_timeout:
        status = 504
    elif end.is_internal:
        status = 500
    return JSONResponse({"message": end.message, "hint": end.hint}, status)


def _known(service: Service, name: str, label: str) -> ActionAnswer:
    facts = service.generator.facts.get(label, LabelFacts())
    frames = service.usual_frames((label,)) if facts.frames else None
    return ActionAnswer(name=name, frames=frames, quality=facts.quality)
