"""One tracked table: who may do what with it, and which events it has."""

from typing import Any, Generic, Self, TypeVar

from pydantic import Field, model_validator

from devstack.standin.models.base import (
    Address,
    AddressVariable,
    BoolExp,
    ByRole,
    Columns,
    Count,
    Either,
    GraphQLName,
    ListedColumns,
    Many,
    Model,
    Named,
    Positive,
    Template,
    UnreservedVariable,
)


class TableName(Model):
    """A table by schema and name."""

    name: str
    schema_: str = Field(default="public", alias="schema")

    def __str__(self) -> str:
        return f"{self.schema_}.{self.name}"


class Header(Either):
    """A configured header."""

    either = ("value", "value_from_env")

    name: str = Field(pattern="^[A-Za-z0-9-]+$")
    value: Template | None = None
    value_from_env: UnreservedVariable | None = None

    def sent(self) -> str:
        """Give the value as it goes over the wire."""
        return self.given().value

    def logged(self) -> str:
        """Give the value as logs may show it: instead of a variable's value its name."""
        return self.value_from_env.written if self.value_from_env else self.sent()


def sent_headers(headers: tuple[Header, ...]) -> dict[str, str]:
    """Give the configured headers as they go over the wire."""
    return {header.name: header.sent() for header in headers}


class SelectPermission(Model):
    """Columns and rows a role may read."""

    columns: Columns
    filter: BoolExp
    limit: Count | None = None
    allow_aggregations: bool = False


class InsertPermission(Model):
    """What a role may insert; `check` must hold for the new row."""

    check: BoolExp
    columns: Columns = "*"
    set: dict[str, Any] = Field(default_factory=dict)


class UpdatePermission(Model):
    """What a role may update; `filter` picks the rows, `check` must hold afterwards."""

    columns: Columns
    filter: BoolExp
    check: BoolExp | None = None
    set: dict[str, Any] = Field(default_factory=dict)


class DeletePermission(Model):
    """Which rows a role may delete."""

    filter: BoolExp


PermissionT = TypeVar("PermissionT")


class Granted(Model, Generic[PermissionT]):
    """A permission and the role that has it."""

    role: str
    permission: PermissionT
    comment: str = ""


class RetryConf(Model):
    """When a failed delivery is tried again; the first two keys are required by the engine."""

    num_retries: Count
    interval_sec: Count
    timeout_sec: Positive = 60


class Operation(Model):
    """Which columns an UPDATE must change to count, and which columns are sent."""

    columns: ListedColumns
    payload: ListedColumns = "*"


class TriggerDefinition(Model):
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


class EventTrigger(Either):
    """One event trigger."""

    either = ("webhook", "webhook_from_env")

    name: str = Field(pattern=r"^[A-Za-z]+[A-Za-z0-9_-]*$", max_length=42)
    definition: TriggerDefinition
    retry_conf: RetryConf
    webhook: Address | None = None
    webhook_from_env: AddressVariable | None = None
    headers: Many[Header] = ()

    @property
    def address(self) -> str:
        """Where events are delivered, whichever key told it."""
        return self.given().value


class RootField(Model):
    """A root field's name and description, in the longer of its two forms."""

    name: GraphQLName | None = None
    comment: str = ""


class CustomRootFields(Model):
    """The names of root fields that somebody chose; the stand-in lacks two of the fields."""

    select: GraphQLName | RootField | None = None
    select_by_pk: GraphQLName | RootField | None = None
    select_aggregate: GraphQLName | RootField | None = None
    select_stream: GraphQLName | RootField | None = None
    insert: GraphQLName | RootField | None = None
    insert_one: GraphQLName | RootField | None = None
    update: GraphQLName | RootField | None = None
    update_by_pk: GraphQLName | RootField | None = None
    update_many: GraphQLName | RootField | None = None
    delete: GraphQLName | RootField | None = None
    delete_by_pk: GraphQLName | RootField | None = None

    def chosen(self, kind: str) -> str | None:
        """Give the name that was chosen for one kind of field."""
        field: str | RootField | None = getattr(self, kind)
        return field.name if isinstance(field, RootField) else field


class ColumnConfig(Model):
    """A column's name in the API."""

    custom_name: GraphQLName | None = None
    comment: str = ""


class TableConfiguration(Model):
    """How a table and its columns are called in the API."""

    custom_name: GraphQLName | None = None
    custom_root_fields: CustomRootFields = CustomRootFields()
    column_config: dict[str, ColumnConfig] = Field(default_factory=dict)
    custom_column_names: dict[str, GraphQLName] = Field(default_factory=dict)
    comment: str = ""

    @property
    def column_names(self) -> dict[str, str]:
        """The chosen names of columns, from the newer key and the older one."""
        chosen = {name: it.custom_name for name, it in self.column_config.items()}
        return self.custom_column_names | {key: name for key, name in chosen.items() if name}


class TableEntry(Model):
    """One table's names, permissions and event triggers."""

    table: TableName
    configuration: TableConfiguration = TableConfiguration()
    insert_permissions: ByRole[Granted[InsertPermission]] = ()
    select_permissions: ByRole[Granted[SelectPermission]] = ()
    update_permissions: ByRole[Granted[UpdatePermission]] = ()
    delete_permissions: ByRole[Granted[DeletePermission]] = ()
    event_triggers: Named[EventTrigger] = ()
