"""VRM animations (.vrma): a humanoid without a mesh, and one animation of it. No torch.

Source: VRMC_vrm_animation 1.0. Whatever character plays it scales the hips' path by its own height.
"""

from data.rigs.load import open_rig
from data.rigs.solve import put_on_rig
from data.rigs.writing.gltf import with_animations
from models.motion import Motion

_EXTENSION = "VRMC_vrm_animation"


def vrma_bytes(motion: Motion) -> bytes:
    """A motion on VRM's humanoid, which rests in a T-pose, as a file."""
    fit = open_rig("vrm")
    bones = {name: {"node": node} for name, node in zip(fit.rig.names, fit.rig.nodes, strict=True)}
    humanoid = {"specVersion": "1.0", "humanoid": {"humanBones": bones}}
    return with_animations([put_on_rig(fit, motion)], {_EXTENSION: humanoid})
