"""How a character's surfaces look: base colours and textures of glTF materials. No torch."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data.rigs.gltf_read import GltfFile, read_uri, whole_number
from models.errors import PoseGPTError

AlphaMode = Literal["opaque", "mask", "blend"]
Wrap = Literal["repeat", "clamp", "mirror"]

LARGEST_TEXTURE = 2048
"""Pixels along a side; larger ones are reduced: pictures are seldom as fine."""
_MOST_PIXELS = 16384 * 16384
_KTX2 = b"\xabKTX 20\xbb"
_WRAPS: dict[str, Wrap] = {"33071": "clamp", "33648": "mirror"}
_ALPHA_MODES: dict[str, AlphaMode] = {"MASK": "mask", "BLEND": "blend"}


@dataclass(frozen=True, eq=False)
class Texture:
    """A picture that is laid on a surface."""

    picture: NDArray[np.uint8]
    """(H, W, 4) sRGB and opacity, the upper row first."""
    wraps: tuple[Wrap, Wrap] = ("repeat", "repeat")
    """What comes beyond its edges, across and down."""


@dataclass(frozen=True, eq=False)
class Material:
    """The base colour of a surface; how it shines is left to who draws it."""

    name: str = ""
    color: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)
    """Linear red, green, blue and opacity, 0..1; multiplied into texture and vertex colours."""
    texture: Texture | None = None
    uv_set: int = 0
    """Which of the mesh's texture coordinates the texture takes."""
    uv_matrix: tuple[tuple[float, float, float], tuple[float, float, float]] = ((1, 0, 0), (0, 1, 0))
    """(2, 3) what is done to them first."""
    alpha: AlphaMode = "opaque"
    """mask: points less opaque than the cutoff are left out; blend: what is behind shines through."""
    alpha_cutoff: float = 0.5
    is_double_sided: bool = False


class Materials:
    """The materials of a file; textures are read when they are first asked for, each once."""

    def __init__(self, file: GltfFile) -> None:
        self._file = file
        self._materials: dict[int, Material] = {}
        self._textures: dict[int, Texture] = {}

    @cached_property
    def default(self) -> Material:
        """Of primitives that name none."""
        return Material()

    def get(self, index: object) -> Material:
        """One of the file's materials; None names the default.

        Raises PoseGPTError if it is not there, damaged, or its texture cannot be read.
        """
        if index is None:
            return self.default
        stored = self._file.item("materials", index, "a mesh")
        assert isinstance(index, int)
        if index not in self._materials:
            self._materials[index] = self._read(stored)
        return self._materials[index]

    def _read(self, stored: Mapping[str, Any]) -> Material:
        # The base colour is a factor times a texture.
        name = str(stored.get("name") or "")
        surface = _object(stored.get("pbrMetallicRoughness"))
        factor = surface.get("baseColorFactor")
        reference = _object(surface.get("baseColorTexture"))

        # What older exporters wrote in its place.
        glossy = _object(_object(stored.get("extensions")).get("KHR_materials_pbrSpecularGlossiness"))
        if glossy and not surface:
            factor = glossy.get("diffuseFactor")
            reference = _object(glossy.get("diffuseTexture"))

        transform = _object(_object(reference.get("extensions")).get("KHR_texture_transform"))
        uv_set = transform.get("texCoord", reference.get("texCoord", 0))
        what = f"the material {name!r} of {self._file.name}"
        red, green, blue, opacity = self._numbers(factor, (1.0, 1.0, 1.0, 1.0), what)
        (cutoff,) = self._numbers([stored.get("alphaCutoff", 0.5)], (0.5,), what)
        return Material(
            name=name,
            color=(red, green, blue, opacity),
            texture=self._texture(reference["index"]) if "index" in reference else None,
            uv_set=whole_number(uv_set, 8, what, "texture coordinates"),
            uv_matrix=self._uv_matrix(transform, what),
            alpha=_ALPHA_MODES.get(str(stored.get("alphaMode")), "opaque"),
            alpha_cutoff=cutoff,
            is_double_sided=stored.get("doubleSided") is True,
        )

    def _uv_matrix(
        self, transform: Mapping[str, Any], what: str
    ) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
        """KHR_texture_transform: scaled, turned, then moved."""
        x, y = self._numbers(transform.get("offset"), (0.0, 0.0), what)
        wide, high = self._numbers(transform.get("scale"), (1.0, 1.0), what)
        (angle,) = self._numbers([transform.get("rotation", 0.0)], (0.0,), what)
        cos = float(np.cos(angle))
        sin = float(np.sin(angle))
        return ((cos * wide, sin * high, x), (-sin * wide, cos * high, y))

    def _numbers(self, values: object, default: tuple[float, ...], what: str) -> tuple[float, ...]:
        """As many numbers as the default has; the default for None."""
        if values is None:
            return default
        try:
            numbers = np.array(values, float)
        except (TypeError, ValueError, OverflowError):
            numbers = np.empty(0)
        if numbers.shape != (len(default),) or not np.isfinite(numbers).all():
            raise PoseGPTError(f"{what} is damaged: it has {values!r} for a number", "export it again")
        return tuple(numbers.tolist())

    def _texture(self, index: object) -> Texture:
        stored = self._file.item("textures", index, "a material")
        assert isinstance(index, int)
        if index in self._textures:
            return self._textures[index]
        extensions = _object(stored.get("extensions"))
        source = stored.get("source")
        if "EXT_texture_webp" in extensions:
            source = _object(extensions["EXT_texture_webp"]).get("source", source)
        if source is None and "KHR_texture_basisu" in extensions:
            raise self._packed()

        # What lies beyond the picture's edges; repeated if nothing is said.
        sampler: Mapping[str, Any] = {}
        if stored.get("sampler") is not None:
            sampler = self._file.item("samplers", stored["sampler"], "a texture")
        # As text, because a damaged file may have a list there.
        across = _WRAPS.get(str(sampler.get("wrapS")), "repeat")
        down = _WRAPS.get(str(sampler.get("wrapT")), "repeat")
        self._textures[index] = Texture(self._picture(source), (across, down))
        return self._textures[index]

    def _picture(self, source: object) -> NDArray[np.uint8]:
        """(H, W, 4) of one of the file's images, reduced if it is very large."""
        stored = self._file.item("images", source, "a texture")
        # A picture is a part of the file, or lies beside it.
        label = str(stored.get("name") or stored.get("uri") or f"image {source}")
        if label.startswith("data:"):
            label = f"image {source}"
        if stored.get("bufferView") is not None:
            content = self._file.view(stored["bufferView"])
        else:
            content = read_uri(stored.get("uri"), self._file.path)
        if content.startswith(_KTX2):
            raise self._packed()

        try:
            # Only what glTF allows: other formats of Pillow are no business of a character's.
            with Image.open(io.BytesIO(content), formats=("PNG", "JPEG", "WEBP")) as image:
                if image.width * image.height > _MOST_PIXELS:
                    raise ValueError(f"{image.width}x{image.height} pixels")
                image.draft("RGB", (LARGEST_TEXTURE, LARGEST_TEXTURE))
                whole = image.convert("RGBA")
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise PoseGPTError(
                f"the texture {label!r} of {self._file.name} cannot be read: {error}",
                "export the character again, with textures as PNG or JPEG",
            ) from None
        whole.thumbnail((LARGEST_TEXTURE, LARGEST_TEXTURE))
        return np.asarray(whole)

    def _packed(self) -> PoseGPTError:
        return PoseGPTError(
            f"the textures of {self._file.name} are packed as KTX2",
            "unpack them first: npx @gltf-transform/cli ktxdecompress IN OUT",
        )


def _object(value: object) -> Mapping[str, Any]:
    """A part of the tree that should be an object; empty if it is none."""
    return value if isinstance(value, dict) else {}
