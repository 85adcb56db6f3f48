"""What the models have in common: their strictness, and texts filled in from the environment."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    Strict,
    ValidationInfo,
    model_validator,
)
from pydantic_core import PydanticCustomError

_TEMPLATE = re.compile(r"\{\{(\w+)\}\}")
_URL = re.compile(r"https?://[^\s{}]+")
NOT_SET = "not_set"  # the type of the error of a variable that is not in the environment
_RESERVED = "HASURA_GRAPHQL_"


@dataclass(frozen=True)
class Filled:
    """A text as it is written, and what the environment makes of it, which may be a secret."""

    written: str
    value: str = field(repr=False)


def _environment(info: ValidationInfo, name: str) -> str:
    environment: Mapping[str, str] = info.context or {}
    if name not in environment:
        raise PydanticCustomError(
            NOT_SET, "environment variable '{name}' is not set", {"name": name}
        )
    return environment[name]


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("must be a text")
    return value


def _filled(value: Any, info: ValidationInfo) -> Filled:
    written = _text(value)
    if "{{" in _TEMPLATE.sub("", written):
        raise ValueError("a template is the name of a variable between {{ and }}")
    return Filled(written, _TEMPLATE.sub(lambda match: _environment(info, match[1]), written))


def _looked_up(value: Any, info: ValidationInfo) -> Filled:
    name = _text(value)
    return Filled(name, _environment(info, name))


def _not_reserved(variable: Filled) -> Filled:
    if variable.written.upper().startswith(_RESERVED):
        raise ValueError(f"{variable.written!r}: {_RESERVED} is reserved")
    return variable


def _url(address: Filled) -> Filled:
    if not _URL.fullmatch(address.value):
        raise ValueError(f"{address.written!r} is no URL of http or https")
    return address


def _not_covered(wanted: bool) -> bool:
    if wanted:
        raise ValueError("is not covered by the stand-in")
    return wanted


def no_two(attribute: str) -> AfterValidator:
    """Refuse a list in which two have the same name, role or table."""

    def check(items: tuple[Any, ...]) -> tuple[Any, ...]:
        names = [str(getattr(item, attribute)) for item in items]
        for index, name in enumerate(names):
            if name in names[:index]:
                raise ValueError(f"{attribute} {name!r} occurs twice")
        return items

    return AfterValidator(check)


ItemT = TypeVar("ItemT")
Many = Annotated[tuple[ItemT, ...], Strict(False)]  # YAML has lists, and we want no list
Named = Annotated[Many[ItemT], no_two("name")]
ByRole = Annotated[Many[ItemT], no_two("role")]

_written = PlainSerializer(lambda filled: filled.written, return_type=str)
Template = Annotated[Filled, BeforeValidator(_filled), _written]
Variable = Annotated[Filled, BeforeValidator(_looked_up), _written]
Address = Annotated[Template, AfterValidator(_url)]
AddressVariable = Annotated[Variable, AfterValidator(_url)]
UnreservedVariable = Annotated[Variable, AfterValidator(_not_reserved)]
NotCovered = Annotated[bool, AfterValidator(_not_covered)]
Columns = Literal["*"] | Many[str]
ListedColumns = Literal["*"] | Annotated[Many[str], Field(min_length=1)]
BoolExp = dict[str, Any]
GraphQLName = Annotated[str, Field(pattern=r"^[_A-Za-z][_0-9A-Za-z]*$")]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(gt=0)]


class Model(BaseModel):
    """A model that takes nothing it does not know, and nothing for something else."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, str_min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _no_key_without_a_value(cls, data: Any) -> Any:
        """Refuse what Hasura would take as if the key were not there."""
        for key, value in data.items() if isinstance(data, dict) else ():
            if value is None:
                raise ValueError(f"{key!r} has no value")
        return data


class Either(Model):
    """A model that must have exactly one of two keys, of which each gives a text."""

    either: ClassVar[tuple[str, str]]

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if len(self.model_fields_set & set(self.either)) != 1:
            raise ValueError(f"exactly one of {', '.join(self.either)} is needed")
        return self

    def given(self) -> Filled:
        """Give the one that is there."""
        (key,) = self.model_fields_set & set(self.either)
        filled: Filled = getattr(self, key)
        return filled
