"""One motion from one file, whatever its format."""

from pathlib import Path

from data.formats.amass import read_amass
from data.formats.bvh import read_bvh
from data.retargeting.retarget import retarget
from models.errors import PoseGPTError
from models.motion import Motion


def read_motion(path: Path | str) -> Motion:
    """Read a motion by its file's extension: .npz (AMASS or ours) or .bvh (any known skeleton).

    Raises PoseGPTError where the file is missing, damaged, or of another kind.
    """
    path = Path(path)
    if not path.is_file():
        raise PoseGPTError(f"no file {path}", "check the path")
    if path.suffix.lower() == ".npz":
        return read_amass(path)
    if path.suffix.lower() == ".bvh":
        return retarget(read_bvh(path))
    raise PoseGPTError(
        f"cannot read {path.name}: its extension is {path.suffix or 'missing'}", "give .npz or .bvh"
    )
