"""MMCP: the SDK's own client gets motion, and what cannot be followed is refused as the protocol says."""

import numpy as np
import pytest
from motionmcp import client as mmcp

from models.cleaning.clean import clean
from models.sampling.generate import timeline
from models.sampling.settings import SamplingSettings, Segment

TURNED = {"pelvis": [0, 0, 0, 1]}
OTHER_JOINT = {"name": "a", "rest_translation": [0, 0, 0], "rest_rotation": [0, 0, 0, 1]}


@pytest.fixture(scope="module")
def server(address):
    return f"{address}/mmcp"


@pytest.fixture(scope="module")
def model(server):
    return mmcp.pick_model(mmcp.get_capabilities(server))


def request(model, *segments, **more):
    return {
        "protocol_version": "1.4",
        "model": model["id"],
        "skeleton": model["canonical_skeleton"],
        "segments": list(segments),
        **more,
    }


def text(prompt, frames, **more):
    return {"type": "text", "prompt": prompt, "duration_frames": frames, **more}


def test_capabilities_say_what_is_there(server, model):
    assert mmcp.probe_server(server).ok
    assert model["id"] == "posegpt"
    assert model["fps"] == 30
    assert model["supported_constraints"] == []
    assert model["supports_segment_seed"]
    joints = model["canonical_skeleton"]["joints"]
    assert len(joints) == 24
    assert joints[0]["name"] == "pelvis"
    assert 0.8 < joints[0]["rest_translation"][1] + 1.2 < 2.4


def test_the_sdk_client_gets_the_motion_that_the_library_makes(server, model, service):
    body = request(model, text("walk", 20), text("wave", 16), options={"seed": 4, "num_samples": 2})
    samples = mmcp.parse_gltf_samples(mmcp.generate(server, body))
    # The same timeline by the library's own function.
    segments = [Segment(("walk",), 20), Segment(("wave",), 16)]
    expected = clean(timeline(service.generator, segments, SamplingSettings(n=2, seed=4)))
    assert len(samples) == 2
    for sample, motion in zip(samples, expected, strict=True):
        root = np.asarray(sample["posed_joints"])[:, 0]
        # The protocol's length counts, even where the timeline takes longer to get up from the floor.
        expected_root = motion.trans[:36] + service.rest_joints[0]
        np.testing.assert_allclose(root, expected_root, atol=1e-3)


def test_a_segment_with_a_seed_of_its_own_stays_when_the_others_change(server, model):
    def last_frames(first_seed):
        body = request(
            model, text("walk", 16, seed=first_seed), text("wave", 16, seed=7), options={"seed": 0}
        )
        [sample] = mmcp.parse_gltf_samples(mmcp.generate(server, body))
        return sample

    # Another first segment makes another motion; the same request makes the same one.
    assert repr(last_frames(1)) != repr(last_frames(2))
    assert repr(last_frames(3)) == repr(last_frames(3))


@pytest.mark.parametrize("fps", [24.0, 60.0])
def test_other_frame_rates(server, model, fps):
    body = request(
        model, text("walk", 31), {"type": "unconditioned", "duration_frames": 10}, timing={"fps": fps}
    )
    document = mmcp.generate(server, body)
    [sample] = document["extensions"]["MMCP_motion"]["samples"]
    assert sample["num_frames"] == 41
    assert document["extensions"]["MMCP_motion"]["fps"] == fps


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"constraints": [{"type": "root_path", "frames": [0], "positions_xz": [[0, 0]]}]},
         "unsupported_constraint"),
        ({"constraints": [{"type": "pose_keyframe", "frame": 0, "joint_rotations": TURNED}]},
         "unsupported_constraint"),
        ({"options": {"loop": True}}, "invalid_options"),
        ({"options": {"guidance": {"type": "separated", "weight": [1, 2]}}}, "invalid_options"),
        ({"options": {"guidance": {"type": "regular", "weight": [-1]}}}, "invalid_options"),
        ({"options": {"seed": -3}}, "invalid_options"),
        ({"options": {"model_options": {"temperature": 99}}}, "invalid_options"),
        ({"options": {"num_samples": 17}}, "schema_validation"),
        ({"timing": {"fps": 1e5}}, "invalid_options"),
        ({"model": "another"}, "unknown_model"),
        ({"protocol_version": "2.0"}, "version_unsupported"),
        ({"skeleton": {"joints": [OTHER_JOINT]}},
         "retargeting_unsupported"),
        ({"segments": [{"type": "pose", "prompt": "sit"}]}, "unsupported_segment"),
        ({"segments": [text("swims like a dolphin", 20)]}, "invalid_options"),
        ({"segments": [text("walk", 20)] * 21}, "invalid_options"),
        ({"segments": [text("walk", 10_000)]}, "invalid_options"),
    ],
)  # fmt: skip
def test_what_cannot_be_followed_is_refused(server, model, more, code):
    body = request(model, text("walk", 20)) | more
    with pytest.raises(mmcp.MmcpError) as refused:
        mmcp.generate(server, body)
    assert refused.value.code == code


def test_guidance_dials_and_notes(server, model):
    options = {
        "seed": 1,
        "guidance": {"type": "nocfg"},
        "model_options": {"top_p": 0.9},
        "diffusion_steps": 50,
    }
    document = mmcp.generate(server, request(model, text("walk", 12), options=options))
    codes = [note["code"] for note in document["extensions"]["MMCP_motion"]["notes"]]
    assert codes == ["prompt_understood", "option_ignored"]


def test_a_batch_of_requests_is_answered_item_by_item(client, model):
    bad = request(model, text("nothing that anybody knows", 12))
    good = request(model, text("walk", 12), options={"seed": 1})
    answer = client.post("/mmcp/generate", json={"protocol_version": "1.4", "requests": [good, bad]}).json()
    assert "gltf" in answer["results"][0]
    assert answer["results"][1]["error"]["code"] == "invalid_options"
