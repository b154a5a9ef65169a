"""Which renderer draws: the one asked for, or the best that works here."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from models.errors import PoseGPTError
from posegpt_cli.rendering.opengl.context import GL_FIX
from posegpt_cli.rendering.options import RendererName, RenderOptions
from posegpt_cli.rendering.renderer import Renderer


@dataclass(frozen=True, eq=False)
class Backend:
    """A renderer that is ready."""

    renderer: Renderer
    name: RendererName
    """mesh, skeleton or pytorch3d."""
    warning: str = ""
    """Why it is not the one that would have been preferred."""


@contextmanager
def open_renderer(options: RenderOptions, size: tuple[int, int]) -> Iterator[Backend]:
    """The renderer that the options ask for, closed at the end.

    Raises PoseGPTError if they insist on one that cannot draw here.
    """
    backend = make_backend(options, size)
    with backend.renderer:
        yield backend


def make_backend(options: RenderOptions, size: tuple[int, int]) -> Backend:
    """The same, for the caller to close."""
    from posegpt_cli.rendering.software.skeleton import SkeletonRenderer

    if options.renderer == "skeleton":
        return Backend(SkeletonRenderer(options, size), "skeleton")
    if options.renderer == "pytorch3d":
        if options.rig is not None:
            raise PoseGPTError(
                "the pytorch3d renderer draws our own bodies only, no rig", "use renderer=mesh", "renderer"
            )
        from posegpt_cli.rendering.torch3d.renderer import Torch3dRenderer

        return Backend(Torch3dRenderer(options, size), "pytorch3d")
    if options.rig is not None:
        from posegpt_cli.rendering.character import missing_mesh

        warning = missing_mesh(options.rig)
        if warning:
            return Backend(SkeletonRenderer(options, size), "skeleton", warning)
    # The mesh is preferred: the skeleton stands in for it, and says why.
    try:
        from posegpt_cli.rendering.opengl.mesh import MeshRenderer

        return Backend(MeshRenderer(options, size), "mesh")
    except PoseGPTError as error:
        if options.renderer == "mesh":
            raise
        warning = f"{error.message}; drew the skeleton instead. For the mesh: {GL_FIX}"
        return Backend(SkeletonRenderer(options, size), "skeleton", warning)
