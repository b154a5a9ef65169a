"""BodyModel: the arrays of one model file of the SMPL family, in the smplx package's terms. No torch."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.body.skeleton import REST_PELVIS, BodyType

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class BodyModel:
    """The arrays of one model file, in smplx's terms; V vertices, J joints."""

    body_type: BodyType
    v_template: Floats
    """(V, 3) rest pose, metres."""
    faces: NDArray[np.int32]
    """(F, 3)"""
    weights: Floats
    """(V, J) skinning weights."""
    J_regressor: Floats
    """(J, V) template to joints."""
    shapedirs: Floats | None = None
    """(V, 3, N) directions of betas, for SMPL-X also expressions; None where nobody asked for them."""
    posedirs: Floats | None = None
    """(V, 3, 9 (J - 1)) pose blend shapes, or None where all are zero."""
    vertex_colors: NDArray[np.uint8] | None = None
    """(V, 3) sRGB."""
    hands_mean: Floats | None = None
    """(2, 15, 3) rotation vectors of the relaxed left and right hand; None for SMPL."""
    hands_components: Floats | None = None
    """(2, 45, 45)"""

    @property
    def rest_joints(self) -> Floats:
        """(J, 3) joints of the rest pose, metres."""
        return (self.J_regressor.astype(np.float64) @ self.v_template).astype(np.float32)

    def shaped(self, betas: Sequence[float]) -> "BodyModel":
        """The model with a person's shape in its template.

        The pelvis stays where the body type has it: a motion says where the pelvis is, whatever the shape.

        Raises ValueError if the file was read without shapes.
        """
        if self.shapedirs is None:
            raise ValueError("the model was read without its shapes")
        n = min(len(betas), self.shapedirs.shape[-1])
        shape = self.shapedirs[..., :n] @ np.asarray(betas[:n], np.float32)
        template = self.v_template + shape
        pelvis = self.J_regressor[0].astype(np.float64) @ template
        template = template + (np.array(REST_PELVIS[self.body_type]) - pelvis).astype(np.float32)
        return replace(self, v_template=template)
