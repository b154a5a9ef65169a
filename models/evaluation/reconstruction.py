"""Reconstruction: how much of a motion survives its way through the tokens."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import roma
import torch
from torch import Tensor

from models.batch import Batch
from models.body.body import Body, load_body
from models.body.skeleton import BODY_JOINTS
from models.distributed import gather_rows, own_share
from models.evaluation.likelihood import gaussian_likelihood
from models.evaluation.motions.clips import batches, fit
from models.evaluation.motions.generated import OnProgress, no_progress
from models.evaluation.report import Estimate, FigureInfo, Report, Setup, Table, estimate
from models.evaluation.timing import Stopwatch
from models.motion import Motion
from models.networks.features import Root, features_to_motion, yaw_of
from models.networks.quantizer import perplexity
from models.networks.vqvae import VQVAE

VERTEX_FRAMES = 8
"""Vertices are compared in one of so many frames: a mesh costs a thousand times its joints."""
BATCH_SIZE = 64
GROUPS: dict[str, tuple[str, ...]] = {
    "torso": ("pelvis", "spine", "neck", "head", "collar"),
    "arms": ("shoulder", "elbow", "wrist"),
    "legs": ("hip", "knee", "ankle", "foot"),
}

FIGURES = {
    "mpjpe": FigureInfo(unit="mm", better="lower", meaning="error of joint positions, pelvis at the origin"),
    "mpjpe with translation": FigureInfo(unit="mm", better="lower", meaning="the same in the world"),
    **{
        f"mpjpe {group}": FigureInfo(unit="mm", better="lower", meaning=f"mpjpe of the {group}")
        for group in GROUPS
    },
    "pve": FigureInfo(
        unit="mm", better="lower", meaning=f"vertices, pelvis at the origin, 1 of {VERTEX_FRAMES} frames"
    ),
    "pve with translation": FigureInfo(unit="mm", better="lower", meaning="the same in the world"),
    "rotation error": FigureInfo(unit="deg", better="lower", meaning="error of the joints' rotations"),
    "code usage": FigureInfo(better="higher", meaning="share of the codes that occur"),
    "perplexity": FigureInfo(better="higher", meaning="codes that would be as even, mean over the books"),
    "likelihood": FigureInfo(
        unit="nats/frame",
        better="higher",
        meaning="log-likelihood of the features, Gaussian with the residual's own deviation a channel",
    ),
}
_PER_MOTION = [name for name in FIGURES if name not in ("code usage", "perplexity", "likelihood")]


@dataclass(frozen=True, eq=False)
class _Sums:
    """Of one motion."""

    errors: Tensor
    """(len(_PER_MOTION),) means over its frames."""
    residual: Tensor
    """(F,) sum over its frames of squared differences of features, in deviations."""
    frames: int
    indices: Tensor
    """(S, K)"""


def evaluate_reconstruction(
    vqvae: VQVAE,
    fps: float,
    motions: Sequence[Motion],
    setup: Setup,
    on_progress: OnProgress = no_progress,
    sets: Sequence[str] = (),
) -> Report:
    """Errors of motions, each a mean over its frames; means and intervals are over the motions.

    Args:
        sets: what each motion belongs to; of several sets there is a table, too.
    """
    clock = Stopwatch()
    body = load_body(vqvae.config.body_type)

    # Each process reconstructs its share of the motions.
    own = own_share(len(motions))
    fitted = [fit(motions[k], fps, vqvae.config.body_type) for k in own]
    sums: dict[int, _Sums] = {}
    with clock.part("reconstruction"):
        for places, batch in batches(fitted, BATCH_SIZE):
            batch = batch.to(next(vqvae.parameters()).device)
            for place, one in zip(places, _reconstruct(vqvae, body, batch), strict=True):
                sums[place] = one
            on_progress(len(sums), len(own))

    # Batches hold motions of like length; from here on they are in the order given.
    ordered = [sums[k] for k in range(len(own))]
    n = len(motions)
    errors = gather_rows(torch.stack([s.errors for s in ordered]), n)
    residual = gather_rows(torch.stack([s.residual for s in ordered]), n).sum(0)
    frames = int(gather_rows(torch.tensor([[s.frames] for s in ordered]), n).sum())

    # Codes are padded to one length, so that processes can exchange them as a table.
    longest = vqvae.n_tokens(math.ceil(fps * max(motion.duration for motion in motions)) + 1)
    indices = gather_rows(torch.stack([_padded(s.indices, longest) for s in ordered]), n).flatten(0, 1)
    figures = {name: estimate(errors[:, k].tolist()) for k, name in enumerate(_PER_MOTION)}
    return Report(
        protocol="reconstruction",
        seed=setup.seed,
        settings=setup.settings,
        fingerprints=setup.fingerprints,
        counts={"motions": n, "motions scored": len(errors), "frames": frames},
        infos=FIGURES,
        figures={"reconstruction": figures | _code_figures(vqvae, indices, residual, frames)},
        tables={"by set": _by_set(errors, sets)} if len(set(sets)) > 1 else {},
        seconds=clock.seconds,
    )


@torch.no_grad()
def reconstruct(vqvae: VQVAE, fps: float, motions: Sequence[Motion]) -> list[Motion]:
    """What is left of motions after their way through the tokens, in order."""
    fitted = [fit(motion, fps, vqvae.config.body_type) for motion in motions]
    decoded: dict[int, Motion] = {}
    for places, batch in batches(fitted, BATCH_SIZE):
        batch = batch.to(next(vqvae.parameters()).device)

        # The decoded motion starts where the true one does: place and heading are no part of the code.
        features = vqvae(batch.poses, batch.trans, batch.length).features
        start = Root(yaw_of(roma.rotvec_to_rotmat(batch.poses[:, 0, 0])), batch.trans[:, 0])
        pose = features_to_motion(features, vqvae.config.translation, start)
        poses = roma.rotmat_to_rotvec(pose.rotmats).cpu().numpy()
        trans = pose.trans.cpu().numpy()
        for row, place in enumerate(places):
            n = fitted[place].n_frames
            decoded[place] = replace(fitted[place], poses=poses[row, :n], trans=trans[row, :n])
    return [decoded[k] for k in range(len(fitted))]


@torch.no_grad()
def _reconstruct(vqvae: VQVAE, body: Body, batch: Batch) -> list[_Sums]:
    r = vqvae(batch.poses, batch.trans, batch.length)
    rotmats = roma.rotvec_to_rotmat(batch.poses)

    # Both start at the same place and heading.
    start = Root(yaw_of(rotmats[:, 0, 0]), batch.trans[:, 0])
    pose = features_to_motion(r.features, vqvae.config.translation, start)
    poses = roma.rotmat_to_rotvec(pose.rotmats)
    angle = roma.rotmat_geodesic_distance(pose.rotmats, rotmats)[..., : len(BODY_JOINTS)].rad2deg().mean(-1)
    joints = body.joints(batch.poses, batch.trans), body.joints(poses, pose.trans)
    residual = ((r.features - r.target) / vqvae.std).cpu().double().square()
    found = []
    for k, length in enumerate(batch.length.tolist()):
        t, p = (j[k, :length, : len(BODY_JOINTS)].cpu().double() for j in joints)

        # Frames beyond a motion's length are padding and count for nothing.
        every = slice(0, length, VERTEX_FRAMES)
        truth = body.vertices(batch.poses[k, every], batch.trans[k, every])
        decoded = body.vertices(poses[k, every], pose.trans[k, every])
        errors = {
            **_joint_errors(t, p),
            **_vertex_errors(truth.cpu(), decoded.cpu(), t[every, :1], p[every, :1]),
            "rotation error": float(angle[k, :length].mean()),
        }
        ordered = torch.tensor([errors[name] for name in _PER_MOTION], dtype=torch.float64)
        indices = r.quantized.codes[k, : vqvae.n_tokens(length)].cpu()
        found.append(_Sums(ordered, residual[k, :length].sum(0), length, indices))
    return found


def _joint_errors(truth: Tensor, decoded: Tensor) -> dict[str, float]:
    """Of joints (T, 22, 3), in mm."""
    # With the pelvis at the origin, errors of the path do not count.
    centred = ((truth - truth[:, :1]) - (decoded - decoded[:, :1])).norm(dim=-1) * 1000
    world = (truth - decoded).norm(dim=-1) * 1000
    errors = {"mpjpe": float(centred.mean()), "mpjpe with translation": float(world.mean())}
    for group, parts in GROUPS.items():
        columns = [j for j, name in enumerate(BODY_JOINTS) if any(part in name for part in parts)]
        errors[f"mpjpe {group}"] = float(centred[:, columns].mean())
    return errors


def _vertex_errors(
    truth: Tensor, decoded: Tensor, pelvis: Tensor, decoded_pelvis: Tensor
) -> dict[str, float]:
    """Of vertices (T, V, 3) with pelvises (T, 1, 3), in mm."""
    centred = ((truth - pelvis) - (decoded - decoded_pelvis)).norm(dim=-1)
    world = (truth - decoded).norm(dim=-1)
    return {"pve": float(centred.mean()) * 1000, "pve with translation": float(world.mean()) * 1000}


def _code_figures(vqvae: VQVAE, indices: Tensor, residual: Tensor, frames: int) -> dict[str, Estimate]:
    """Of all motions together: indices (N, K), -1 for none, and the summed squared residual (F,)."""
    n_codes = vqvae.config.codes_per_book
    used = [len(torch.unique(book[book >= 0])) / n_codes for book in indices.T]
    likelihood = gaussian_likelihood(residual / frames)
    return {
        "code usage": Estimate(mean=sum(used) / len(used)),
        "perplexity": Estimate(mean=float(perplexity(indices, n_codes).mean())),
        "likelihood": Estimate(mean=likelihood),
    }


def _by_set(errors: Tensor, sets: Sequence[str]) -> Table:
    """Means of (N, len(_PER_MOTION)) errors over the motions of each set, the worst first."""
    rows = list[tuple[str | float, ...]]()
    for name in sorted(set(sets)):
        own = errors[[k for k, of in enumerate(sets) if of == name]]
        rows.append((name, len(own), *own.mean(0).tolist()))
    rows.sort(key=lambda row: row[2], reverse=True)
    return Table(columns=("set", "motions", *_PER_MOTION), rows=tuple(rows))


def _padded(indices: Tensor, n: int) -> Tensor:
    """(S, K) to (n, K), -1 beyond."""
    return torch.cat([indices, indices.new_full((n - len(indices), indices.shape[1]), -1)])
