"""OpenGL to draw into memory: finds the platform that works here. Imports GL only when used.

On Linux that is EGL or OSMesa, which need no screen; on Windows and macOS, which have neither, a window of
one pixel that is never shown.
"""

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from models.errors import PoseGPTError

HAS_OWN_WINDOWS = sys.platform in ("win32", "darwin")
"""Whether OpenGL comes with the system, for those who may open a window."""
GL_FIX = (
    "start it in a session with a screen, not over SSH"
    if HAS_OWN_WINDOWS
    else "apt-get install -y libegl1 libgl1"
)
"""What brings OpenGL: packages of Debian and Ubuntu, or where the system has it."""
GL_HINT = f"to have OpenGL: {GL_FIX}; or use --renderer skeleton"
PLATFORMS = ("window",) if HAS_OWN_WINDOWS else ("egl", "osmesa")
_VARIABLE = "PYOPENGL_PLATFORM"
_working: list[str] = []
"""The platform that this process has opened: PyOpenGL stays with it."""


class _LazyOpenGL:
    """The module OpenGL.GL, imported when something of it is first used.

    PyOpenGL binds to one platform when it is imported, so that nobody may import it before `open_context` has
    chosen one. What was used is kept as an attribute: a picture asks for some hundred names.
    """

    def __getattr__(self, name: str) -> Any:
        value = getattr(importlib.import_module("OpenGL.GL"), name)
        setattr(self, name, value)
        return value

    def forget(self) -> None:
        """Import it anew at its next use."""
        vars(self).clear()


GL = _LazyOpenGL()


@dataclass(frozen=True)
class GlStatus:
    """Whether meshes can be drawn here."""

    platform: str | None
    """egl, osmesa or window; None: none works."""
    renderer: str
    """What draws, e.g. llvmpipe or the GPU's name; empty without a platform."""
    reasons: tuple[str, ...]
    """Why a platform does not work, one line each."""


@dataclass(frozen=True, eq=False)
class GlContext:
    """A current OpenGL context and what drives it."""

    name: str
    platform: Any
    """pyrender's platform object; make_current() and delete_context()."""

    def make_current(self) -> None:
        self.platform.make_current()

    def close(self) -> None:
        """Free this context. pyrender would end the whole display, and other contexts on it too."""
        if self.name == "egl":
            # The display is shared by all contexts of the process: only this one is destroyed.
            from OpenGL.EGL import eglDestroyContext

            eglDestroyContext(self.platform._egl_display, self.platform._egl_context)
            self.platform._egl_context = self.platform._egl_display = None
        elif self.name == "window":
            self.platform.window.close()
        else:
            self.platform.delete_context()


def import_pyrender(module: str) -> ModuleType:
    """One module of pyrender, such as `primitive`, without what its package loads along with it.

    That would be a viewer, which needs X libraries that a server lacks, and trimesh with networkx, which
    take a second. Whoever imports pyrender as a whole still can.
    """
    package = "pyrender"
    name = f"{package}.{module}"
    if package in sys.modules or name in sys.modules:
        return importlib.import_module(name)
    spec = importlib.util.find_spec(package)
    if spec is None:
        raise ModuleNotFoundError("pyrender is not installed", name=package)
    # Python needs the package in sys.modules to import a part of it: known, but not run.
    sys.modules[package] = importlib.util.module_from_spec(spec)
    try:
        return importlib.import_module(name)
    finally:
        del sys.modules[package]


def open_context(size: tuple[int, int]) -> GlContext:
    """A current offscreen context of the given width and height.

    A platform that PYOPENGL_PLATFORM names is the only one tried.

    Raises PoseGPTError with every platform's reason where none works.
    """
    reasons = []
    for name in _platforms_to_try():
        try:
            context = _open_platform(name, size)
        except Exception as error:  # loaders raise anything, from OSError to AttributeError on None
            reasons.append(f"{name}: {_describe(error)}")
            if name not in _working:
                _forget_opengl()
        else:
            _working[:] = [name]
            return context
    raise PoseGPTError(f"no OpenGL to draw a mesh with ({'; '.join(reasons)})", GL_HINT)


def _platforms_to_try() -> Sequence[str]:
    """The one that the environment names, or that has worked in this process, or all."""
    named = os.environ.get(_VARIABLE)
    if named:
        return (named,)
    return tuple(_working) or PLATFORMS


def check_gl() -> GlStatus:
    """Try to open a context and say what draws, or why nothing does."""
    try:
        context = open_context((16, 16))
    except PoseGPTError as error:
        # The error lists the reasons in brackets.
        reasons = error.message.partition("(")[2].removesuffix(")").split("; ")
        return GlStatus(None, "", tuple(reasons))
    renderer = GL.glGetString(GL.GL_RENDERER).decode(errors="replace")
    context.close()
    return GlStatus(context.name, renderer, ())


def _open_platform(name: str, size: tuple[int, int]) -> GlContext:
    """One platform's context; raises whatever its libraries raise."""
    openers: dict[str, Callable[[tuple[int, int]], Any]] = {
        "egl": _open_egl,
        "osmesa": _open_osmesa,
        "window": _open_window,
    }
    if name not in openers:
        raise PoseGPTError(f"{_VARIABLE}={name} is not one of {', '.join(openers)}")
    # PyOpenGL reads the variable at its first import; the user's environment stays as it was.
    # For a window it finds the system's own platform by itself.
    before = os.environ.pop(_VARIABLE, None)
    if name != "window":
        os.environ[_VARIABLE] = name
    try:
        return GlContext(name, openers[name](size))
    finally:
        os.environ.pop(_VARIABLE, None)
        if before is not None:
            os.environ[_VARIABLE] = before


def _open_egl(size: tuple[int, int]) -> Any:
    """The first EGL device that gives a context: GPUs come first, Mesa's software last."""
    egl = import_pyrender("platforms.egl")
    errors: list[Exception] = []
    for device in [*egl.query_devices(), egl.EGLDevice(None)]:
        platform = egl.EGLPlatform(*size, device=device)
        try:
            platform.init_context()
            platform.make_current()
            return platform
        except Exception as error:  # a GPU without permission fails in as many ways as there are drivers
            errors.append(error)
    raise errors[0]


def _open_osmesa(size: tuple[int, int]) -> Any:
    platform = import_pyrender("platforms.osmesa").OSMesaPlatform(*size)
    platform.init_context()
    platform.make_current()
    return platform


@dataclass(frozen=True, eq=False)
class _WindowPlatform:
    """A window that is never shown, for its OpenGL context."""

    window: Any

    def make_current(self) -> None:
        self.window.switch_to()


def _open_window(size: tuple[int, int]) -> Any:
    """A hidden window of pyglet, which opens CGL on macOS, WGL on Windows and GLX elsewhere.

    Not by pyrender's own class for it, which asks pyglet for versions that our shaders do not need, and is
    written for an older pyglet.
    """
    import pyglet

    # Its own second window, and its checks after every call, would only take time.
    pyglet.options["shadow_window"] = False
    pyglet.options["debug_gl"] = False
    from pyglet.window import Window

    # Called like this, Config makes the one of the system's own kind.
    make_config: Any = pyglet.gl.Config
    config = make_config(
        double_buffer=True, depth_size=24, major_version=3, minor_version=3, forward_compatible=True
    )
    # What is drawn goes into textures of their own sizes: the window's does not matter.
    window = Window(width=1, height=1, visible=False, config=config)
    window.switch_to()
    return _WindowPlatform(window)


def _forget_opengl() -> None:
    """PyOpenGL binds one platform when it is imported: drop it, so that another may be chosen."""
    GL.forget()
    for name in list(sys.modules):
        if name.partition(".")[0] in ("OpenGL", "pyrender"):
            del sys.modules[name]


def _describe(error: Exception) -> str:
    if isinstance(error, PoseGPTError):
        return error.message
    # PyOpenGL loads without the library and fails when it is used.
    if "NoneType" in str(error) or "undefined function" in str(error):
        return "its library is not installed"
    text = " ".join(str(error).split())
    return (text[:160] if text else type(error).__name__).rstrip(".")
