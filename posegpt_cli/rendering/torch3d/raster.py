"""pytorch3d as our torch renderer uses it: which triangle each pixel sees. Imports it only when used."""

import importlib
import platform
import sys
from dataclasses import dataclass

import torch
from torch import Tensor

from models.errors import PoseGPTError
from posegpt_cli.rendering.camera import Camera

_BUILT = "pip install torch==2.12.0 iopath numpy, then pip install --no-deps easypytorch3d==0.7.9.post1"
_BUILD = (
    "with g++ and the nvcc of torch's CUDA: pip install iopath ninja, then FORCE_CUDA=1 pip install "
    "--no-build-isolation 'git+https://github.com/facebookresearch/pytorch3d.git@main'"
)
_INSTEAD = "use --renderer mesh"


def install_hint() -> str:
    """How pytorch3d gets onto this machine, which no package index answers for all of them."""
    if sys.platform != "linux":
        return f"{_INSTEAD}: there is no build of it for this system"
    # Who builds it for others does so for one version of Python and torch.
    is_built = platform.machine() == "x86_64" and sys.version_info[:2] == (3, 12)
    return f"{_BUILT if is_built else _BUILD}; or {_INSTEAD}"


def find_device() -> torch.device:
    """The GPU to draw on. Raises PoseGPTError if there is none, or if pytorch3d was built without CUDA.

    On a processor a picture of 128x128 takes 41 s, and Ctrl-C is not heard meanwhile.
    """
    if not torch.cuda.is_available():
        raise PoseGPTError(
            "pytorch3d draws on a GPU, and torch sees none here; a processor takes minutes per picture",
            f"{_INSTEAD}, which draws the same",
        )
    if not is_built_for_cuda():
        raise PoseGPTError("this pytorch3d was built without CUDA", install_hint())
    return torch.device("cuda")


def is_built_for_cuda() -> bool:
    """Whether its compiled part knows CUDA: one of its functions exists only then."""
    return hasattr(importlib.import_module("pytorch3d._C"), "knn_check_version")


def check_package() -> None:
    """Raises PoseGPTError if pytorch3d is not installed or does not load."""
    try:
        import pytorch3d.renderer.mesh.rasterize_meshes  # noqa: F401
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("pytorch3d"):
            raise PoseGPTError("pytorch3d is not installed", install_hint()) from error
        raise PoseGPTError(f"pytorch3d does not load: {error}", install_hint()) from error
    except (ImportError, OSError) as error:  # built for another torch
        reason = " ".join(str(error).split())[:160]
        raise PoseGPTError(f"pytorch3d does not load: {reason}", install_hint()) from error


@dataclass(frozen=True, eq=False)
class Fragments:
    """Which triangle each pixel sees first."""

    face: Tensor
    """(B, H, W) triangle, -1 for none."""
    bary: Tensor
    """(B, H, W, 3) where in it."""

    def interpolate(self, values: Tensor, faces: Tensor) -> Tensor:
        """(B, V, C) values at the vertices of faces (F, 3) to (B, H, W, C), zero where nothing is seen."""
        # Pixels that see nothing take the first triangle's values, and lose them below.
        corners = faces[self.face.clamp(min=0)]
        batch = torch.arange(len(values), device=values.device)[:, None, None, None]
        mixed = (values[batch, corners] * self.bary[..., None]).sum(dim=-2)
        return mixed * (self.face >= 0)[..., None]


def rasterize(points: Tensor, faces: Tensor, size: tuple[int, int], is_perspective: bool) -> Fragments:
    """The nearest triangle in every pixel.

    Args:
        points: (B, V, 3) pixel x, pixel y (right and down from the upper left corner), distance in metres.
        faces: (F, 3) triangles, the same in all pictures.
        size: width and height.
        is_perspective: whether the distance is that from a camera, so that it bends interpolation.
    """
    from pytorch3d.renderer.mesh.rasterize_meshes import rasterize_meshes
    from pytorch3d.structures import Meshes

    width, height = size
    # Its coordinates run left and up, the shorter side from -1 to 1.
    half = min(size) / 2
    left = (width / 2 - points[..., 0]) / half
    up = (height / 2 - points[..., 1]) / half
    left_up = torch.stack((left, up, points[..., 2]), dim=-1)
    face, _, bary, _ = rasterize_meshes(
        Meshes(verts=left_up, faces=faces.expand(len(points), -1, -1)),
        image_size=(height, width),
        blur_radius=0.0,
        faces_per_pixel=1,
        max_faces_per_bin=len(faces),  # its own guess overflows where a person is small
        perspective_correct=is_perspective,
    )
    # It numbers the triangles of all pictures through; ours are numbered within each.
    face = face[..., 0]
    first = torch.arange(len(points), device=face.device)[:, None, None] * len(faces)
    return Fragments(torch.where(face >= 0, face - first, face), bary[..., 0, :])


def project(points: Tensor, camera: Camera) -> Tensor:
    """(..., 3) metres to (..., 3) pixel x, pixel y, distance; Camera.project in torch."""
    rotation = torch.tensor(camera.rotation, dtype=points.dtype, device=points.device)
    eye = torch.tensor(camera.eye, dtype=points.dtype, device=points.device)
    local = (points - eye) @ rotation.T
    depth = -local[..., 2]
    scale = camera.focal / depth.clamp(min=1e-6)
    width, height = camera.size
    x = width / 2 + local[..., 0] * scale
    y = height / 2 - local[..., 1] * scale
    return torch.stack((x, y, depth), dim=-1)
