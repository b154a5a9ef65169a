"""Base of all settings classes, and the types of their fields. Imports no torch.

A field's docstring is its help on the command line; its default is the default everywhere.
"""

import difflib
import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from models.errors import SettingsError

Positive = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Dropout = Annotated[float, Field(ge=0, lt=1)]
Weight = Annotated[float, Field(ge=0)]
Decay = Annotated[float, Field(ge=0, lt=1)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]

FADE_FRAMES = 10
"""Length of the blend from one motion to the next (a third of a second at 30 fps)."""


class Config(BaseModel):
    """Base of all configs: immutable, unknown keys refused, docstrings are field descriptions.

    Raises SettingsError, naming the field, if a value does not fit.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    old_names: ClassVar[Mapping[str, str]] = {}
    """What older versions called a field -> the field: their checkpoints and runs stay readable."""

    def __init__(self, **values: Any) -> None:
        # Called for nested configs and by model_validate() too: what it raises passes through pydantic.
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise _settings_error(error.errors()[0], type(self)) from error

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Let a field whose default a subclass changes keep its description."""
        super().__pydantic_init_subclass__(**kwargs)
        for name, info in cls.model_fields.items():
            if info.description is None:
                bases = [base for base in cls.__mro__[1:] if issubclass(base, Config)]
                inherited = [base.model_fields[name] for base in bases if name in base.model_fields]
                info.description = inherited[0].description if inherited else None

    def replaced(self, **values: Any) -> Self:
        """A copy with these values, checked like a new one."""
        return type(self).model_validate(dict(self) | values)

    @model_validator(mode="before")
    @classmethod
    def _rename(cls, values: Any) -> Any:
        return _with_new_names(values, cls) if isinstance(values, Mapping) else values


def upgrade_names(values: Mapping[str, Any], config: type[BaseModel]) -> dict[str, Any]:
    """Values of a config and its parts, as a file holds them, with old names of fields replaced."""
    renamed = _with_new_names(values, config)
    for name, info in config.model_fields.items():
        part, value = info.annotation, renamed.get(name)
        if isinstance(part, type) and issubclass(part, BaseModel) and isinstance(value, Mapping):
            renamed[name] = upgrade_names(value, part)
    return renamed


def _with_new_names(values: Mapping[str, Any], config: type[BaseModel]) -> dict[str, Any]:
    old_names = config.old_names if issubclass(config, Config) else {}
    return {old_names.get(name, name): value for name, value in values.items()}


def _settings_error(first: ErrorDetails, config: type[Config]) -> SettingsError:
    """pydantic's first complaint about a config, in the field's name."""
    message = first["msg"].removeprefix("Value error, ")
    if not first["loc"]:
        named = [name for name in config.model_fields if re.search(rf"\b{name}\b", message)]
        return SettingsError(message, "change one of them", named)

    name = str(first["loc"][0])
    if name not in config.model_fields:
        close = difflib.get_close_matches(name, config.model_fields, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"known are {', '.join(config.model_fields)}"
        return SettingsError(f"unknown setting '{name}'", hint)
    about = (config.model_fields[name].description or "").partition("\n")[0]
    if first["type"] == "missing":
        return SettingsError(f"{name} is missing", f"{name}: {about}", name)
    said = re.sub(r"^Input should be", f"{name} must be", message)
    if said == message:
        said = f"{name}: {message[0].lower()}{message[1:]}"
    return SettingsError(f"{said}, got {first['input']!r}", f"{name}: {about}", name)
