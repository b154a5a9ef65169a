"""Coverage-guided fuzzing of the text readers, if atheris is installed: `pip install atheris`, then

python -m tests.campaign.fuzz_text bvh -max_total_time=600

The reader is bvh, asf or amc; the other words are libFuzzer's. It stops at the first fault, and leaves the
input in a file crash-....
"""

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["data.formats"]):
    from data.formats import asf, bvh_read

from models.errors import LONGEST, PoseGPTError
from tests.data.acclaim import random_frames, write_amc, write_asf

_folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
_skeleton = asf.read_asf(write_asf(_folder / "a.asf"))
_READERS = {
    "bvh": bvh_read.read_bvh,
    "asf": asf.read_asf,
    "amc": lambda path: asf.read_amc(path, _skeleton),
}


def main() -> None:
    """Fuzz the reader that the first word names."""
    name = sys.argv.pop(1)
    read = _READERS[name]
    path = _folder / f"input.{name}"

    # libFuzzer starts from whole files.
    corpus = _folder / "corpus"
    corpus.mkdir()
    write_amc(corpus / "amc", random_frames(2))
    write_asf(corpus / "asf")
    (corpus / "bvh").write_text(_BVH)

    def one(content: bytes) -> None:
        path.write_bytes(content)
        try:
            read(path)
        except PoseGPTError as error:
            assert 0 < len(error.message) <= LONGEST and error.message.isprintable() and error.hint

    atheris.Setup([*sys.argv, "-timeout=10", str(corpus)], one)
    atheris.Fuzz()


_BVH = """HIERARCHY
ROOT Hips
{
  OFFSET 0 0 0
  CHANNELS 6 Xposition Yposition Zposition Zrotation Yrotation Xrotation
  JOINT LeftUpLeg
  {
    OFFSET 0 1 0
    CHANNELS 3 Zrotation Yrotation Xrotation
    End Site
    {
      OFFSET 0 1 0
    }
  }
}
MOTION
Frames: 1
Frame Time: 0.04
0 0 0 0 0 0 0 0 0
"""

if __name__ == "__main__":
    main()
