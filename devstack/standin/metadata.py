"""Hasura's metadata as frozen models, with templates and environment filled in; no files here.

Closed and strict: what Hasura refuses is refused, and so is a key that the stand-in does not cover
or that has no value. Nothing is silently ignored.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Generic, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    RootModel,
    Strict,
    ValidationInfo,
    model_validator,
)

_TEMPLATE = re.compile(r"\{\{(\w+)\}\}")
_URL = re.compile(r"https?://[^\s{}]+")
_RESERVED = "HASURA_GRAPHQL_"


@dataclass(frozen=True)
class Filled:
    """A text as it is written, and what the environment makes of it, which may be a secret."""

    written: str
    value: str = field(repr=False)


def _environment(info: ValidationInfo, name: str) -> str:
    environment: Mapping[str, str] = info.context or {}
    if name not in environment:
        raise ValueError(f"environment variable {name!r} is not set")
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


def _no_two(attribute: str) -> AfterValidator:
    """Refuse a list in which two have the same name, role or table."""

    def check(items: tuple[Any, ...]) -> tuple[Any, ...]:
        names = [str(getattr(item, attribute)) for item in items]
        for index, name in enumerate(names):
            if name in names[:index]:
                raise ValueError(f"{attribute} {name!r} occurs twice")
        return items

    return AfterValidator(check)


ItemT = TypeVar("ItemT")
_Many = Annotated[tuple[ItemT, ...], Strict(False)]  # YAML has lists, and we want no list
_Named = Annotated[_Many[ItemT], _no_two("name")]
_ByRole = Annotated[_Many[ItemT], _no_two("role")]

_written = PlainSerializer(lambda filled: filled.written, return_type=str)
Template = Annotated[Filled, BeforeValidator(_filled), _written]
Variable = Annotated[Filled, BeforeValidator(_looked_up), _written]
Columns = Literal["*"] | _Many[str]
ListedColumns = Literal["*"] | Annotated[_Many[str], Field(min_length=1)]
BoolExp = dict[str, Any]
GraphQLName = Annotated[str, Field(pattern=r"^[_A-Za-z][_0-9A-Za-z]*$")]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(gt=0)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, str_min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _no_key_without_a_value(cls, data: Any) -> Any:
        """Refuse what Hasura would take as if the key were not there."""
        for key, value in data.items() if isinstance(data, dict) else ():
            if value is None:
                raise ValueError(f"{key!r} has no value")
        return data


class _Either(_Model):
    """A model that must have exactly one of two keys, of which each gives a text."""

    either: ClassVar[tuple[str, str]]

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if len(self.model_fields_set & set(self.either)) != 1:
            raise ValueError(f"exactly one of {', '.join(self.either)} is needed")
        return self

    def _given(self) -> Filled:
        (key,) = self.model_fields_set & set(self.either)
        filled: Filled = getattr(self, key)
        return filled


class TableName(_Model):
    """A table by schema and name."""

    name: str
    schema_: str = Field(default="public", alias="schema")

    def __str__(self) -> str:
        return f"{self.schema_}.{self.name}"


class Header(_Either):
    """A configured header."""

    either = ("value", "value_from_env")

    name: str = Field(pattern="^[A-Za-z0-9-]+$")
    value: Template | None = None
    value_from_env: Annotated[Variable, AfterValidator(_not_reserved)] | None = None

    def sent(self) -> str:
        """Give the value as it goes over the wire."""
        return self._given().value

    def logged(self) -> str:
        """Give the value as logs may show it: instead of a variable's value its name."""
        return self.value_from_env.written if self.value_from_env else self.sent()


def sent_headers(headers: tuple[Header, ...]) -> dict[str, str]:
    """Give the configured headers as they go over the wire."""
    return {header.name: header.sent() for header in headers}


class SelectPermission(_Model):
    """Columns and rows a role may read."""

    columns: Columns
    filter: BoolExp
    limit: Count | None = None
    allow_aggregations: bool = False


class InsertPermission(_Model):
    """What a role may insert; `check` must hold for the new row."""

    check: BoolExp
    columns: Columns = "*"
    set: dict[str, Any] = {}


class UpdatePermission(_Model):
    """What a role may update; `filter` picks the rows, `check` must hold afterwards."""

    columns: Columns
    filter: BoolExp
    check: BoolExp | None = None
    set: dict[str, Any] = {}


class DeletePermission(_Model):
    """Which rows a role may delete."""

    filter: BoolExp


PermissionT = TypeVar("PermissionT")


class Granted(_Model, Generic[PermissionT]):
    """A permission and the role that has it."""

    role: str
    permission: PermissionT
    comment: str = ""


class RetryConf(_Model):
    """When a failed delivery is tried again; the first two keys are required by the engine."""

    num_retries: Count
    interval_sec: Count
    timeout_sec: Positive = 60


class Operation(_Model):
    """Which columns an UPDATE must change to count, and which columns are sent."""

    columns: ListedColumns
    payload: ListedColumns = "*"


class TriggerDefinition(_Model):
    """The operations that an event trigger captures."""

    enable_manual: bool = False
    insert: Operation | None = None
    update: Operation | None = None
    delete: Operation | None = None

    @model_validator(mode="after")
    def _captures_something(self) -> Self:
        if not self.operations and not self.enable_manual:
            raise ValueError("an event trigger needs an operation or enable_manual")
        return self

    @property
    def operations(self) -> dict[str, Operation]:
        """The captured operations by their SQL name."""
        pairs = {"INSERT": self.insert, "UPDATE": self.update, "DELETE": self.delete}
        return {name: operation for name, operation in pairs.items() if operation}


class EventTrigger(_Either):
    """One event trigger."""

    either = ("webhook", "webhook_from_env")

    name: str = Field(pattern=r"^[A-Za-z]+[A-Za-z0-9_-]*$", max_length=42)
    definition: TriggerDefinition
    retry_conf: RetryConf
    webhook: Annotated[Template, AfterValidator(_url)] | None = None
    webhook_from_env: Annotated[Variable, AfterValidator(_url)] | None = None
    headers: _Many[Header] = ()

    @property
    def address(self) -> str:
        """Where events are delivered, whichever key told it."""
        return self._given().value


class TableEntry(_Model):
    """One table's permissions and event triggers."""

    table: TableName
    insert_permissions: _ByRole[Granted[InsertPermission]] = ()
    select_permissions: _ByRole[Granted[SelectPermission]] = ()
    update_permissions: _ByRole[Granted[UpdatePermission]] = ()
    delete_permissions: _ByRole[Granted[DeletePermission]] = ()
    event_triggers: _Named[EventTrigger] = ()


class DatabaseUrl(_Model):
    """Where the source's address is found: in the environment only, as it holds a password."""

    from_env: Variable


class PoolSettings(_Model):
    """Hasura's pool of connections; the stand-in has its own."""

    max_connections: Positive | None = None
    idle_timeout: Count | None = None
    retries: Count | None = None
    connection_lifetime: Count | None = None


class ConnectionInfo(_Model):
    """How to reach the source; only the address matters here."""

    database_url: DatabaseUrl
    isolation_level: Literal["read-committed"] = "read-committed"
    use_prepared_statements: bool = False
    pool_settings: PoolSettings = PoolSettings()


class SourceConfiguration(_Model):
    """Wraps the connection, as Hasura writes it."""

    connection_info: ConnectionInfo


class Source(_Model):
    """A database with its tracked tables."""

    name: str
    kind: Literal["postgres"]
    configuration: SourceConfiguration
    tables: Annotated[_Many[TableEntry], _no_two("table")]


class DatabasesFile(RootModel[Annotated[tuple[Source], Strict(False)]]):
    """What databases.yaml holds; the stand-in serves exactly one database."""


class ActionDefinition(_Model):
    """Where an action is answered, and how long that may take."""

    kind: Literal["synchronous"] = "synchronous"
    handler: Annotated[Template, AfterValidator(_url)]
    timeout: Positive = 30
    forward_client_headers: Annotated[bool, AfterValidator(_not_covered)] = False
    headers: _Many[Header] = ()


class ActionRole(_Model):
    """A role that may call an action."""

    role: str


class Action(_Model):
    """One action; its signature is in actions.graphql."""

    name: GraphQLName
    definition: ActionDefinition
    permissions: _ByRole[ActionRole] = ()
    comment: str = ""


class Relationship(_Model):
    """From an action's output to rows of a table."""

    name: GraphQLName
    type: Literal["object", "array"]
    source: str
    remote_table: TableName
    field_mapping: dict[str, str] = Field(min_length=1)


class CustomName(_Model):
    """A custom type of which only the name is told here."""

    name: GraphQLName


class CustomObject(CustomName):
    """An output type of actions, with its relationships."""

    relationships: _Named[Relationship] = ()


class CustomTypes(_Model):
    """The custom types; their fields are in actions.graphql."""

    enums: _Named[CustomName] = ()
    input_objects: _Named[CustomName] = ()
    objects: _Named[CustomObject] = ()
    scalars: _Named[CustomName] = ()


class ActionsFile(_Model):
    """What actions.yaml holds."""

    actions: _Named[Action] = ()
    custom_types: CustomTypes = CustomTypes()


class VersionFile(_Model):
    """What version.yaml holds; other versions have other files."""

    version: int = Field(ge=3, le=3)
