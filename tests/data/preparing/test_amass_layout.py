"""AMASS as its archives unpack, at any depth and by either of its data sets' names."""

import pytest

from data.preparing.collections.amass_layout import AmassLayout
from data.preparing.prepare import plan, prepare
from data.preparing.settings import PrepareSettings
from tests.data.miniature import label, record, write_babel, write_recording

STAND = "ACCAD/ACCAD/Female1General_c3d/A1 - Stand_poses.npz"
RUB = "BioMotionLab_NTroje/BioMotionLab_NTroje/rub001/0000_treadmill_norm_poses.npz"
LAYOUTS = {
    "smplh/ACCAD/Female1General_c3d/A1 - Stand_poses.npz": STAND,
    "smplh/ACCAD/ACCAD/Female1General_c3d/A1 - Stand_poses.npz": STAND,
    "SMPL+H/ACCAD/Female1General_c3d/A1 - Stand_poses.npz": STAND,
    "ACCAD/Female1General_c3d/A1 - Stand_poses.npz": STAND,
    "ACCAD/ACCAD/Female1General_c3d/A1 - Stand_poses.npz": STAND,
    "smplh/BioMotionLab_NTroje/rub001/0000_treadmill_norm_poses.npz": RUB,
    "smplh/BMLrub/BioMotionLab_NTroje/rub001/0000_treadmill_norm_poses.npz": RUB,
    "smplh/BMLrub/rub001/0000_treadmill_norm_poses.npz": RUB,
    "BMLrub/BioMotionLab_NTroje/rub001/0000_treadmill_norm_poses.npz": RUB,
}
SMPLX_LAYOUTS = {
    "smplx/ACCAD/Female1General_c3d/A1_-_Stand_stageii.npz": STAND,
    "smplx_n/ACCAD/ACCAD/Female1General_c3d/A1_-_Stand_stageii.npz": STAND,
    "smplx/BMLrub/rub001/0000_treadmill_norm_stageii.npz": RUB,
    "BMLrub/rub001/0000_treadmill_norm_stageii.npz": RUB,
}


@pytest.mark.parametrize("path", LAYOUTS)
def test_smplh(tmp_path, path):
    write_recording(tmp_path, path, 30, 30)
    layout = AmassLayout(tmp_path)
    assert layout.has("smplh") and layout.find(LAYOUTS[path], "smplh") == path
    assert layout.find(STAND.replace("A1", "A2"), "smplh") is None


@pytest.mark.parametrize("path", SMPLX_LAYOUTS)
def test_smplx(tmp_path, path):
    write_recording(tmp_path, path, 30, 30)
    layout = AmassLayout(tmp_path)
    assert layout.has("smplx") and layout.find(SMPLX_LAYOUTS[path], "smplx") == path


def test_the_folder_of_a_release_itself(tmp_path):
    write_recording(tmp_path, "smplh/ACCAD/Female1General_c3d/A1 - Stand_poses.npz", 30, 30)
    layout = AmassLayout(tmp_path / "smplh")
    assert layout.has("smplh") and not layout.has("smplx")
    assert layout.find(STAND, "smplh") == "ACCAD/Female1General_c3d/A1 - Stand_poses.npz"


def test_a_folder_without_amass(tmp_path):
    (tmp_path / "other").mkdir()
    layout = AmassLayout(tmp_path)
    assert not layout.has("smplh") and not layout.has("smplx")


def test_prepare_takes_what_the_archives_unpack_to(tmp_path):
    amass = tmp_path / "amass"
    write_recording(amass, "BMLrub/BioMotionLab_NTroje/rub001/0000_treadmill_norm_poses.npz", 90, 30)
    write_recording(amass, "ACCAD/ACCAD/Female1General_c3d/A1 - Stand_poses.npz", 90, 30)
    babel = write_babel(
        tmp_path / "babel",
        train=[record(1, STAND, 3.0, seq=[label(["stand"])]), record(2, RUB, 3.0, seq=[label(["walk"])])],
    )
    settings = PrepareSettings(babel=babel, amass=amass, out=tmp_path / "out", type="smpl")
    assert plan(settings).files == 2 and plan(settings).missing == ()
    report = prepare(settings)
    assert report.converted == 2 and report.splits["train"].clips == 2 and not report.notes
