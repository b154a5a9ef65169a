"""Our shaders, compiled once, and their uniforms."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posegpt_cli.rendering.opengl.context import GL, import_pyrender

SHADERS = Path(__file__).parent / "shaders"


class Program:
    """A compiled program of pyrender's that looks up each of its uniforms once.

    pyrender asks for a name's place at every use, and passes a vector as an array, which PyOpenGL checks and
    converts: the 28 uniforms of a picture took it 1.2 to 1.5 ms, and take 0.5 to 0.7 ms here.
    """

    def __init__(self, program: Any) -> None:
        self._program = program
        self._places: dict[str, int] = {}

    def bind(self) -> None:
        """Draw with it from now on."""
        GL.glUseProgram(self._program._program_id)

    def set_uniform(self, name: str, value: int | float | NDArray[np.floating]) -> None:
        """Give a uniform of the bound program a number, a vector of 2 to 4, or a (3, 3) or (4, 4) matrix.

        A name that the shader does not use is passed over, as the same code sets up several shaders.
        """
        if name not in self._places:
            self._places[name] = GL.glGetUniformLocation(self._program._program_id, name)
        place = self._places[name]
        if isinstance(value, int):
            GL.glUniform1i(place, value)
        elif isinstance(value, float):
            GL.glUniform1f(place, value)
        elif value.ndim == 1:
            set_vector: dict[int, Callable[..., None]]
            set_vector = {2: GL.glUniform2f, 3: GL.glUniform3f, 4: GL.glUniform4f}
            set_vector[len(value)](place, *value.tolist())
        else:
            set_matrix = GL.glUniformMatrix3fv if len(value) == 3 else GL.glUniformMatrix4fv
            set_matrix(place, 1, True, value.astype(np.float32))


class Programs:
    """Our shaders in pyrender's cache."""

    def __init__(self) -> None:
        self._cache = import_pyrender("shader_program").ShaderProgramCache(shader_dir=str(SHADERS))
        self._programs: dict[tuple[str, str], Program] = {}

    def use(
        self, vertex_shader: str, fragment_shader: str, constants: Mapping[str, float | str] | None = None
    ) -> Program:
        """The program of these two, bound; compiled at its first use with these constants."""
        key = vertex_shader, fragment_shader
        if key not in self._programs:
            program = self._cache.get_program(vertex_shader, fragment_shader, defines=constants)
            program._add_to_context()
            self._programs[key] = Program(program)
        self._programs[key].bind()
        return self._programs[key]

    def clear(self) -> None:
        """Free all programs."""
        self._cache.clear()
        self._programs.clear()
