"""Hasura's metadata as frozen models, with templates and environment filled in; no files here.

Closed: a key that the stand-in does not cover is refused, never silently ignored.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    model_validator,
)

_TEMPLATE = re.compile(r"\{\{\s*(\w+)\s*\}\}")


def _environment(info: ValidationInfo, name: str) -> str:
    environment: Mapping[str, str] = info.context or {}
    if name not in environment:
        raise ValueError(f"environment variable {name!r} is not set")
    return environment[name]


def _fill(value: Any, info: ValidationInfo) -> Any:
    if not isinstance(value, str):
        return value
    return _TEMPLATE.sub(lambda match: _environment(info, match[1]), value)


Template = Annotated[str, BeforeValidator(_fill)]
Columns = Literal["*"] | tuple[str, ...]
ListenedColumns = Literal["*"] | Annotated[tuple[str, ...], Field(min_length=1)]
BoolExp = dict[str, Any]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TableName(_Model):
    """A table by schema and name."""

    name: str
    schema_: str = Field(default="public", alias="schema")

    def __str__(self) -> str:
        return f"{self.schema_}.{self.name}"


class Header(_Model):
    """A configured header; `value` is filled from the environment where the metadata says so."""

    name: str
    value: Template
    value_from_env: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _one_source(cls, data: Any, info: ValidationInfo) -> Any:
        if not isinstance(data, dict):
            return data
        variable = data.get("value_from_env")
        if (variable is None) == (data.get("value") is None):
            raise ValueError("a header needs exactly one of value, value_from_env")
        if variable is None:
            return data
        if str(variable).startswith("HASURA_GRAPHQL_"):
            raise ValueError(f"value_from_env {variable!r}: HASURA_GRAPHQL_ is reserved")
        return {**data, "value": _environment(info, variable)}


def sent_headers(headers: tuple[Header, ...]) -> dict[str, str]:
    """Give the configured headers as they go over the wire."""
    return {header.name: header.value for header in headers}


class SelectPermission(_Model):
    """Columns and rows a role may read."""

    columns: Columns
    filter: BoolExp
    limit: int | None = None
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

    num_retries: int = Field(ge=0)
    interval_sec: int = Field(ge=0)
    timeout_sec: int = Field(default=60, gt=0)


class Operation(_Model):
    """Which columns an UPDATE must change to count, and which columns are sent."""

    columns: ListenedColumns
    payload: Columns = "*"


class TriggerDefinition(_Model):
    """The operations that an event trigger captures."""

    enable_manual: bool = False
    insert: Operation | None = None
    update: Operation | None = None
    delete: Operation | None = None

    @model_validator(mode="after")
    def _captures_something(self) -> "TriggerDefinition":
        if not self.operations and not self.enable_manual:
            raise ValueError("an event trigger needs an operation or enable_manual")
        return self

    @property
    def operations(self) -> dict[str, Operation]:
        """The captured operations by their SQL name."""
        pairs = {"INSERT": self.insert, "UPDATE": self.update, "DELETE": self.delete}
        return {name: operation for name, operation in pairs.items() if operation}


class EventTrigger(_Model):
    """One event trigger; `webhook` holds the address, whichever key gave it."""

    name: str = Field(pattern=r"^[A-Za-z]+[A-Za-z0-9_-]*$", max_length=42)
    definition: TriggerDefinition
    retry_conf: RetryConf
    webhook: Template
    webhook_from_env: str | None = None
    headers: tuple[Header, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _one_webhook(cls, data: Any, info: ValidationInfo) -> Any:
        if not isinstance(data, dict):
            return data
        variable = data.get("webhook_from_env")
        if (variable is None) == (data.get("webhook") is None):
            raise ValueError("exactly one of webhook, webhook_from_env is needed")
        return data if variable is None else {**data, "webhook": _environment(info, variable)}


class TableEntry(_Model):
    """One table's permissions and event triggers."""

    table: TableName
    insert_permissions: tuple[Granted[InsertPermission], ...] = ()
    select_permissions: tuple[Granted[SelectPermission], ...] = ()
    update_permissions: tuple[Granted[UpdatePermission], ...] = ()
    delete_permissions: tuple[Granted[DeletePermission], ...] = ()
    event_triggers: tuple[EventTrigger, ...] = ()


class DatabaseUrl(_Model):
    """Where the source's address is found."""

    from_env: str


class ConnectionInfo(_Model):
    """How to reach the source; only the address matters here."""

    database_url: DatabaseUrl
    isolation_level: Literal["read-committed"] = "read-committed"
    use_prepared_statements: bool = False
    pool_settings: dict[str, int] = {}


class SourceConfiguration(_Model):
    """Wraps the connection, as Hasura writes it."""

    connection_info: ConnectionInfo


class Source(_Model):
    """A database with its tracked tables."""

    name: str
    kind: Literal["postgres"]
    configuration: SourceConfiguration
    tables: tuple[TableEntry, ...]


class ActionDefinition(_Model):
    """Where an action is answered, and how long that may take."""

    kind: Literal["synchronous"] = "synchronous"
    handler: Template
    timeout: int = Field(default=30, gt=0)
    forward_client_headers: Literal[False] = False
    headers: tuple[Header, ...] = ()


class ActionRole(_Model):
    """A role that may call an action."""

    role: str


class Action(_Model):
    """One action; its signature is in actions.graphql."""

    name: str
    definition: ActionDefinition
    permissions: tuple[ActionRole, ...] = ()
    comment: str = ""


class Relationship(_Model):
    """From an action's output to rows of a table."""

    name: str
    type: Literal["object", "array"]
    source: str
    remote_table: TableName
    field_mapping: dict[str, str]


class CustomName(_Model):
    """A custom type of which only the name is told here."""

    name: str


class CustomObject(CustomName):
    """An output type of actions, with its relationships."""

    relationships: tuple[Relationship, ...] = ()


class CustomTypes(_Model):
    """The custom types; their fields are in actions.graphql."""

    enums: tuple[CustomName, ...] = ()
    input_objects: tuple[CustomName, ...] = ()
    objects: tuple[CustomObject, ...] = ()
    scalars: tuple[CustomName, ...] = ()


class ActionsFile(_Model):
    """What actions.yaml holds."""

    actions: tuple[Action, ...] = ()
    custom_types: CustomTypes = CustomTypes()
