"""Everything that posegpt writes, as work for the campaign: two versions of each target."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.campaign.writers import Work


def make_works(root: Path) -> list[Work]:
    """Commands and library calls that write, with sources below `root`."""
    from data.formats.bvh import write_bvh
    from data.formats.smpl_npz import write_smpl_npz
    from data.retargeting.body_motion import REST_JOINTS
    from data.synthetic import make_motion

    root.mkdir(parents=True)
    for name, lengths in (("clip", (40, 160)), ("short", (12, 48))):
        for version, n_frames in enumerate(lengths):
            write_smpl_npz(root / f"{name}{version}.npz", make_motion("walk", n_frames))
    joints = np.concatenate([REST_JOINTS, REST_JOINTS[20:22] * 1.1])
    for version, n_clips in enumerate((3, 5)):
        (root / f"bvh{version}").mkdir()
        for k in range(n_clips):
            write_bvh(root / f"bvh{version}" / f"walk_{k}.bvh", make_motion("walk", 30, seed=k), joints)

    works = [_export(root, suffix) for suffix in ("csv", "bvh", "json", "npz", "glb", "html")]
    works.append(_render(root, "gif"))
    works.append(_render(root, "mp4"))
    works.append(Work("prepare", "data/smpl/mocap", _prepare(root), _store_state))
    works.append(Work("checkpoint", "c", _checkpoint(root), _checkpoint_state))
    return works


def _command(*words: object) -> int:
    from posegpt_cli.app import main

    return main([str(word) for word in words])


def _export(root: Path, suffix: str) -> Work:
    def do(folder: Path, version: int) -> int:
        return _command("export", root / f"clip{version}.npz", "--out", folder / f"a.{suffix}", "--force")

    return Work(f"export-{suffix}", f"a.{suffix}", do, Path.read_bytes)


def _render(root: Path, suffix: str) -> Work:
    def do(folder: Path, version: int) -> int:
        words = ["render", root / f"short{version}.npz", "--out", folder / f"a.{suffix}", "--force"]
        return _command(*words, "--size", "64x64", "--renderer", "skeleton")

    return Work(f"render-{suffix}", f"a.{suffix}", do, Path.read_bytes)


def _prepare(root: Path) -> Callable[[Path, int], int]:
    def do(folder: Path, version: int) -> int:
        return _command("prepare", "--bvh", root / f"bvh{version}", "--out", folder / "data", "--force")

    return do


def _store_state(target: Path) -> bytes:
    """Fingerprints of the three splits, each read to its end."""
    from data.store import SPLITS, open_store

    fingerprints = []
    for split in SPLITS:
        store = open_store(target / split)
        store.verify()
        fingerprints.append(store.manifest.fingerprint)
    return " ".join(fingerprints).encode()


def _checkpoint(root: Path) -> Callable[[Path, int], int]:
    import torch

    from models.checkpoint import CheckpointInfo, save_checkpoint
    from models.errors import PoseGPTError
    from models.networks.vqvae import make_vqvae
    from tests.models.small import TINY_VQVAE

    torch.manual_seed(0)
    weights = make_vqvae(TINY_VQVAE).state_dict()
    extra = {"state.pt": lambda file: torch.save({"optimizer": torch.zeros(20_000)}, file)}

    def do(folder: Path, version: int) -> int:
        info = CheckpointInfo(
            stage="vqvae", network=TINY_VQVAE.model_dump(), body_type="smpl", fps=30.0, labels=("walk",),
            data_fingerprint="campaign", step=version,
        )  # fmt: skip
        try:
            save_checkpoint(folder / "c", info, weights, extra=extra)
        except PoseGPTError:
            return 1
        return 0

    return do


def _checkpoint_state(target: Path) -> bytes:
    from models.checkpoint import load_vqvae

    _, info = load_vqvae(target)
    assert sorted(path.name for path in target.iterdir()) == ["config.json", "model.safetensors", "state.pt"]
    return str(info.step).encode()
