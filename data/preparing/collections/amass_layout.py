"""Where the files that BABEL names are in a folder of AMASS, as its archives unpack. Imports no torch.

BABEL says ACCAD/ACCAD/Female1General_c3d/A1 - Stand_poses.npz. On disk the first part may be there or not, or
be the name that the site gives the data set, and all of it may be below smplh/ or smplx/, or not.
"""

from pathlib import Path
from typing import Literal

from data.preparing.annotations import SMPLX_NAMES, amass_path

Release = Literal["smplh", "smplx"]
"""AMASS comes for SMPL-H (from which SMPL is made too) and for SMPL-X."""

_FOLDERS: dict[Release, tuple[str, ...]] = {
    "smplh": ("smplh", "SMPL-H", "SMPL+H", "smplh_g", "smplh_n", "SMPL-H_G", "SMPL+H_G"),
    "smplx": ("smplx", "SMPL-X", "smplx_n", "smplx_g", "SMPL-X_N", "SMPL-X_G"),
}
"""What people call the folder of a release; the first is the usual one."""


class AmassLayout:
    """A folder of AMASS.

    Args:
        root: holds smplh/ or smplx/ or both, is one of them, or holds the data sets themselves.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        # The folder's own name may be the release's, or there may be no folder of a release at all.
        self._bases: dict[Release, tuple[str, ...]] = {}
        for release, names in _FOLDERS.items():
            bases = [f"{name}/" for name in names if (root / name).is_dir()]
            # The folder itself may be a release's.
            if root.name in names:
                bases.append("")
            self._bases[release] = tuple(bases)
        if not any(self._bases.values()) and self._has_data_sets():
            self._bases = dict.fromkeys(_FOLDERS, ("",))
        self._working: dict[tuple[Release, str], str] = {}

    def has(self, release: Release) -> bool:
        """Whether there may be files of a release."""
        return bool(self._bases[release])

    def find(self, feat_p: str, release: Release) -> str | None:
        """Path below the root of the file that BABEL calls feat_p; None if it is not there."""
        _, data_set, *rest = amass_path(feat_p, release).split("/")
        below = "/".join(rest)
        # What worked for the last file of the data set works for most.
        known = self._working.get((release, data_set))
        if known is not None and (self.root / known / below).is_file():
            return f"{known}/{below}"
        for folder in self._candidates(data_set, release):
            if (self.root / folder / below).is_file():
                self._working[release, data_set] = folder
                return f"{folder}/{below}"
        return None

    def _candidates(self, data_set: str, release: Release) -> list[str]:
        """Folders below the root in which a data set may be: by its own name, by the site's, or by both."""
        site = SMPLX_NAMES.get(data_set, data_set)
        names = dict.fromkeys((data_set, f"{site}/{data_set}", site, f"{data_set}/{data_set}"))
        return [f"{base}{name}" for base in self._bases[release] for name in names]

    def _has_data_sets(self) -> bool:
        """Whether a file of AMASS's is two or three folders below."""
        for pattern in ("*/*/*_poses.npz", "*/*/*/*_poses.npz", "*/*/*_stageii.npz", "*/*/*/*_stageii.npz"):
            if next(self.root.glob(pattern), None):
                return True
        return False
