"""Facts of a store's labels: clips, and lengths of clips or of the parts that have a label."""

import numpy as np

from data.label_lengths import label_facts
from data.store import StoreHeader, open_store
from data.store_writer import StoreWriter
from data.synthetic import make_motion

LABELS = ("walk", "bow", "jump")


def test_lengths_of_whole_clips(tmp_path):
    header = StoreHeader(split="train", body_type="smpl", fps=30, label_names=LABELS)
    with StoreWriter(tmp_path / "s", header) as writer:
        for n_frames in (10, 20, 30):
            writer.add(make_motion("walk", n_frames, 1))
        writer.add(make_motion("bow", 7, 2))
    facts = label_facts(open_store(tmp_path / "s"))
    assert (facts["walk"].clips, facts["bow"].clips, facts["jump"].clips) == (3, 1, 0)
    assert facts["walk"].frames == tuple(round(10 + 20 * k / 10) for k in range(1, 10))
    assert set(facts["bow"].frames) == {7}
    assert facts["jump"].frames == ()


def test_lengths_of_parts_of_clips(tmp_path):
    """A label's parts end where the clip ends, even if the next clip begins with the same label."""
    header = StoreHeader(split="train", body_type="smpl", fps=30, label_names=LABELS)
    with StoreWriter(tmp_path / "s", header, per_frame=True) as writer:
        for begins in (4, 0):
            labels = np.zeros((10, 3), bool)
            labels[begins:, 0] = True
            labels[:3, 1] = True
            writer.add(make_motion("walk", 10, 1), frame_labels=labels)
    facts = label_facts(open_store(tmp_path / "s"))
    assert facts["walk"].frames[0] >= 6
    assert facts["walk"].frames[-1] == 10
    assert set(facts["bow"].frames) == {3}
