"""Motions to files that others read: .npz, .bvh, .csv and .json of one motion, .glb and .html of several."""

from collections.abc import Sequence
from pathlib import Path

from models.body.body import Body, load_body_of
from models.body.skeleton import BodyType
from models.errors import PoseGPTError
from models.motion import Motion
from posegpt_cli.rendering.options import RenderOptions


def write_scene(motions: Sequence[Motion], path: Path, options: RenderOptions) -> None:
    """A .glb or .html with all motions, at the options' frame rate.

    Raises PoseGPTError if the file cannot be written or there is no motion.
    """
    if path.suffix.lower() == ".glb":
        from posegpt_cli.output.gltf import write_glb

        write_glb(path, motions, options)
    else:
        from posegpt_cli.output.page import write_page

        write_page(path, motions, options)


def write_numbers(motions: Sequence[Motion], path: Path, options: RenderOptions) -> None:
    """A .npz (AMASS's layout), .bvh, .csv or .json of one motion, at its own frame rate.

    The body is the one that the options name, or else the motion's own; AMASS has no SMPL files, so that
    an SMPL motion becomes SMPL-H in .npz.

    Raises PoseGPTError if the file cannot be written or there is not exactly one motion.
    """
    suffix = path.suffix.lower()
    if len(motions) != 1:
        raise PoseGPTError(f"{path} takes one motion, got {len(motions)}", f"write one {suffix} for each")
    motion = motions[0].to_body_type(options.body_type or motions[0].body_type)
    if suffix == ".npz":
        from data.formats.smpl_npz import write_smpl_npz

        write_smpl_npz(path, motion, options.body_type or amass_body(motion), force=True)
        return
    body = load_body_of(motion, options.body_model, options.body_type, options.body)
    motion = motion.to_body_type(body.body_type)
    if suffix == ".bvh":
        _write_bvh(path, motion, body)
    elif suffix == ".csv":
        from posegpt_cli.output.tables import write_csv

        write_csv(path, motion, body)
    else:
        from posegpt_cli.output.tables import write_json

        write_json(path, motion, body)


def amass_body(motion: Motion) -> BodyType:
    """The body of AMASS's files that keeps all of a motion's joints."""
    return "smplx" if motion.body_type == "smplx" else "smplh"


def _write_bvh(path: Path, motion: Motion, body: Body) -> None:
    from data.formats.bvh import write_bvh

    write_bvh(path, motion, body.rest_joints.numpy(), force=True)
