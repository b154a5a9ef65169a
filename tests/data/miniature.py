"""A miniature AMASS and BABEL, in exactly the formats of their releases."""

import json
from pathlib import Path
from typing import Any

import numpy as np


def write_recording(amass: Path, source: str, n_frames: int, rate: float, walk: float = 1.0) -> None:
    """A person who stands at x = 1 and walks along AMASS's +y (Z up), turning about z, every joint moving.

    At t seconds: translation (1, walk * t, 0.9), root rotation vector (0, 0, t / 2), and joint j > 0 has the
    rotation vector (j * t / 100, 0, 0).
    """
    is_smplx = source.startswith("smplx/")
    n_joints = 55 if is_smplx else 52
    t = np.arange(n_frames) / rate
    poses = np.zeros((n_frames, n_joints, 3))
    poses[:, 1:, 0] = np.arange(1, n_joints) * t[:, None] / 100
    poses[:, 0, 2] = t / 2
    trans = np.stack([np.ones(n_frames), walk * t, np.full(n_frames, 0.9)], axis=1)
    path = amass / source
    path.parent.mkdir(parents=True, exist_ok=True)
    common = {"trans": trans, "poses": poses.reshape(n_frames, -1)}
    if is_smplx:
        np.savez(
            path, gender=np.array("female"), surface_model_type=np.array("smplx"),
            mocap_frame_rate=np.array(rate), mocap_time_length=np.array(n_frames / rate),
            betas=np.zeros(16), num_betas=np.array(16), root_orient=poses[:, 0], **common,
        )  # fmt: skip
    else:
        np.savez(
            path, gender=np.array("male"), mocap_framerate=np.array(rate), betas=np.zeros(16),
            dmpls=np.zeros((n_frames, 8)), **common,
        )  # fmt: skip


def label(
    categories: list[str] | None, start: float | None = None, end: float | None = None
) -> dict[str, Any]:
    """A label as BABEL has it: timed in frame_ann, without times in seq_ann."""
    raw = categories[0] if categories else "does something"
    times = {} if start is None else {"start_t": start, "end_t": end}
    return {
        "raw_label": raw, "proc_label": raw, "seg_id": "00000000-0000", "act_cat": categories, **times,
    }  # fmt: skip


def annotation(labels: list[dict[str, Any]]) -> dict[str, Any]:
    return {"anntr_id": "c9e9a9f4", "babel_lid": "b4b3", "mul_act": len(labels) > 1, "labels": labels}


def record(
    sid: int,
    feat_p: str,
    seconds: float,
    seq: list[dict[str, Any]] | None = None,
    frames: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    return {
        "babel_sid": sid, "url": "https://babel", "feat_p": feat_p, "dur": seconds,
        "seq_ann": annotation(seq) if seq is not None else None,
        "frame_ann": annotation(frames) if frames is not None else None,
    }  # fmt: skip


def write_babel(folder: Path, **splits: list[dict[str, Any]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for split, records in splits.items():
        text = json.dumps({str(r["babel_sid"]): r for r in records})
        (folder / f"{split}.json").write_text(text)
    return folder
