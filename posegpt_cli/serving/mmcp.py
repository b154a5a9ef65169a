"""MMCP, the Motion Model Context Protocol, for Blender's Proscenium add-on and other programs.

The SDK reads requests, refuses what our capabilities do not name (constraints, other skeletons, loops) as the
protocol says, and encodes the answer as glTF. https://animatica.ai/mmcp
"""

import asyncio
import math
import secrets
from functools import partial

import numpy as np
from fastapi import FastAPI
from motionmcp import (
    Backbone,
    GenerateRequest,
    Joint,
    ModelSpec,
    MotionResult,
    ProtocolError,
    Skeleton,
    build_app,
)
from motionmcp.backbone import Limits as ProtocolLimits
from motionmcp.schemas import ModelOption

from models.body.skeleton import JOINT_NAMES, PARENTS
from models.errors import PoseGPTError
from models.motion import Motion
from models.sampling.plans import timeline_plans
from models.sampling.settings import SamplingSettings, Segment
from posegpt_cli.output.gltf import continuous_quaternions
from posegpt_cli.serving.generating.jobs import BusyError, Failed
from posegpt_cli.serving.service import GREATEST_GUIDANCE, Service

MODEL = "posegpt"
_SLOWEST, _FASTEST = 1.0, 240.0
"""Frame rates that may be asked for."""
_LARGEST_SEED = 2**53
_IGNORED = {
    "diffusion_steps": "this model does not work in diffusion steps",
    "transition_frames": "this model makes each transition as long as the poses need",
}
"""Options of the protocol that mean nothing here."""


class PoseGPTBackbone(Backbone):  # type: ignore[misc]  # the SDK comes without types
    """Our generator as the protocol's backbone: prompts to timelines, without constraints."""

    model_id = MODEL

    def __init__(self, service: Service) -> None:
        self._service = service

    def capabilities(self) -> ModelSpec:
        """What we can do."""
        limits = self._service.limits
        return ModelSpec(
            id=MODEL,
            fps=self._service.generator.fps,
            canonical_skeleton=self._skeleton(),
            supports_segment_seed=True,
            supported_constraints=[],
            supported_guidance_types=["nocfg", "regular"],
            model_options=[
                ModelOption(name="temperature", type="number", default=1.0, minimum=0.05, maximum=5.0,
                            title="Temperature", description="Below 1 keeps closer to the likeliest motion."),
                ModelOption(name="top_p", type="number", default=1.0, minimum=0.01, maximum=1.0,
                            title="Top-p", description="Share of the likeliest codes that are sampled from."),
            ],
            limits=ProtocolLimits(
                max_duration_seconds=limits.frames / self._service.generator.fps,
                max_num_samples=limits.motions,
                max_request_bytes=limits.body_bytes,
            ),
        )  # fmt: skip

    async def generate(self, request: GenerateRequest) -> MotionResult:
        """The motions that a request asks for."""
        fps = request.fps(self._service.generator.fps)
        if not _SLOWEST <= fps <= _FASTEST:
            raise _refusal(f"timing.fps must be {_SLOWEST:g} to {_FASTEST:g}, got {fps:g}")
        # What the answer cannot show is said in its notes.
        notes: list[dict[str, str]] = []
        segments = self._segments(request, fps, notes)
        settings = _sampling(request)
        options = request.options
        for name, why in _IGNORED.items():
            if options is not None and name in options.model_fields_set:
                notes.append({"code": "option_ignored", "severity": "info", "message": f"{name}: {why}"})

        start = partial(timeline_plans, self._service.generator, segments, settings)
        is_cleaned = options is None or options.post_processing
        try:
            end = await self._service.last_event(self._service.job_of(start, clean=is_cleaned))
        except BusyError as error:
            raise ProtocolError("resource_exhausted", str(error)) from error
        if isinstance(end, Failed):
            raise _as_protocol_error(end)
        # A timeline may get up from the floor, for which it takes time that nobody asked for.
        longest = max(motion.duration for motion in end.motions)
        if longest > (request.total_frames + 1) / fps:
            message = f"getting up from the floor made it {longest:.1f} s long: the end is cut off"
            notes.append({"code": "cut", "severity": "warning", "message": message})
        motions = [_at(motion, fps, request.total_frames) for motion in end.motions]
        pelvis = np.array(self._service.pelvis, np.float32)
        return MotionResult(
            rotations=np.stack([_quaternions(motion) for motion in motions]),
            root_translations=np.stack([motion.trans + pelvis for motion in motions]),
            notes=notes,
        )

    def generate_batch(self, requests: list[GenerateRequest]) -> "list[asyncio.Task[MotionResult]]":
        """All of them at once: the engine puts them into one batch."""
        return [asyncio.ensure_future(self.generate(request)) for request in requests]

    def _skeleton(self) -> Skeleton:
        """The generator's body at rest: all joints turned nowhere, a person in a T-pose facing +Z."""
        service = self._service
        body_type = service.generator.body_type
        names = JOINT_NAMES[body_type]
        joints: list[Joint] = []
        for k, (name, parent) in enumerate(zip(names, PARENTS[body_type], strict=True)):
            offset = service.rest_joints[k]
            if parent >= 0:
                offset = offset - service.rest_joints[parent]
            joints.append(
                Joint(
                    name=name,
                    parent=names[parent] if parent >= 0 else None,
                    rest_translation=tuple(offset.tolist()),
                    rest_rotation=(0.0, 0.0, 0.0, 1.0),
                )
            )
        return Skeleton(joints=joints)

    def _segments(self, request: GenerateRequest, fps: float, notes: list[dict[str, str]]) -> list[Segment]:
        """The timeline in our labels and frame rate; a prompt may itself be several segments."""
        segments: list[Segment] = []
        for asked in request.segments:
            # Lengths come at the client's frame rate; ours is the generator's.
            n_frames = max(1, round(asked.duration_frames * self._service.generator.fps / fps))
            _check_seed(asked.seed)
            if asked.type != "text":
                segments.append(Segment((), n_frames, asked.seed))
                continue
            try:
                parts = self._service.understand(asked.prompt)
            except PoseGPTError as error:
                raise _refusal(f"prompt '{asked.prompt[:80]}': {error}") from error
            said = "; ".join(" + ".join(part.labels) for part in parts)
            # A client has no other way to see what its words were taken for.
            notes.append({"code": "prompt_understood", "severity": "info", "message": said})
            # The protocol's length counts; lengths in the prompt only share it out.
            lengths = _shared_out(n_frames, [part.n_frames for part in parts])
            for part, length in zip(parts, lengths, strict=True):
                segments.append(Segment(part.labels, length, asked.seed if part is parts[0] else None))
        limit = self._service.limits.segments
        if len(segments) > limit:
            raise _refusal(f"{len(segments)} segments are more than {limit}")
        return segments


def make_mmcp(service: Service) -> FastAPI:
    """The protocol's endpoints, to be mounted."""
    return build_app(PoseGPTBackbone(service), title="posegpt MMCP")


def _sampling(request: GenerateRequest) -> SamplingSettings:
    options = request.options
    if options is None:
        return SamplingSettings(seed=secrets.randbelow(2**31))
    _check_seed(options.seed)
    codes: dict[str, float] = dict(options.model_options or {})
    if options.guidance is not None:
        if options.guidance.type == "separated":
            raise _refusal("guidance of type 'separated' is not supported; 'regular' and 'nocfg' are")
        weight = options.guidance.weight[0] if options.guidance.weight else 1.0
        if not (math.isfinite(weight) and 0 <= weight <= GREATEST_GUIDANCE):
            raise _refusal(f"the weight of guidance must be 0 to {GREATEST_GUIDANCE}, got {weight}")
        codes["guidance"] = weight
    seed = secrets.randbelow(2**31) if options.seed is None else options.seed
    return SamplingSettings.model_validate({**codes, "n": options.num_samples, "seed": seed})


def _shared_out(n_frames: int, lengths: list[int]) -> list[int]:
    """A length shared out in proportion, at least a frame each."""
    # Rounded ends, not rounded lengths: so the parts add up to the whole.
    ends = np.cumsum(lengths) * n_frames / sum(lengths)
    shares = np.diff(np.round(ends).astype(int), prepend=0)
    return [max(1, int(share)) for share in shares]


def _at(motion: Motion, fps: float, n_frames: int) -> Motion:
    """The motion at a frame rate, in exactly `n_frames` frames: rounding may miss one."""
    motion = motion.resample(fps)
    if motion.n_frames >= n_frames:
        return motion.crop(0, n_frames)
    missing = n_frames - motion.n_frames
    poses = np.concatenate([motion.poses, np.repeat(motion.poses[-1:], missing, axis=0)])
    trans = np.concatenate([motion.trans, np.repeat(motion.trans[-1:], missing, axis=0)])
    return Motion(poses, trans, fps, motion.body_type)


def _quaternions(motion: Motion) -> np.ndarray:
    """(T, J, 4) x, y, z, w."""
    joints = [continuous_quaternions(motion.poses[:, k]) for k in range(motion.poses.shape[1])]
    return np.stack(joints, axis=1)


def _check_seed(seed: int | None) -> None:
    if seed is not None and not 0 <= seed <= _LARGEST_SEED:
        raise _refusal(f"a seed must be 0 to {_LARGEST_SEED}")


def _refusal(message: str) -> ProtocolError:
    return ProtocolError("invalid_options", message)


def _as_protocol_error(end: Failed) -> ProtocolError:
    """A job's failure in the protocol's words."""
    code = "invalid_request"
    if end.is_timeout:
        code = "timeout"
    elif end.is_internal:
        code = "internal_error"
    return ProtocolError(code, end.message, {"hint": end.hint})
