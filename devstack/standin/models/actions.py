"""Actions and their custom types, as actions.yaml has them; signatures are elsewhere."""

from typing import Literal

from pydantic import Field

from devstack.standin.models.base import (
    Address,
    ByRole,
    GraphQLName,
    Many,
    Model,
    Named,
    NotCovered,
    Positive,
)
from devstack.standin.models.tables import Header, TableName


class ActionDefinition(Model):
    """Where an action is answered, and how long that may take."""

    kind: Literal["synchronous"] = "synchronous"
    handler: Address
    timeout: Positive = 30
    forward_client_headers: NotCovered = False
    headers: Many[Header] = ()


class ActionRole(Model):
    """A role that may call an action."""

    role: str


class Action(Model):
    """One action; its signature is in actions.graphql."""

    name: GraphQLName
    definition: ActionDefinition
    permissions: ByRole[ActionRole] = ()
    comment: str = ""


class Relationship(Model):
    """From an action's output to rows of a table."""

    name: GraphQLName
    type: Literal["object", "array"]
    source: str
    remote_table: TableName
    field_mapping: dict[str, str] = Field(min_length=1)


class CustomName(Model):
    """A custom type of which only the name is told here."""

    name: GraphQLName


class CustomObject(CustomName):
    """An output type of actions, with its relationships."""

    relationships: Named[Relationship] = ()


class CustomTypes(Model):
    """The custom types; their fields are in actions.graphql."""

    enums: Named[CustomName] = ()
    input_objects: Named[CustomName] = ()
    objects: Named[CustomObject] = ()
    scalars: Named[CustomName] = ()


class ActionsFile(Model):
    """What actions.yaml holds."""

    actions: Named[Action] = ()
    custom_types: CustomTypes = CustomTypes()
