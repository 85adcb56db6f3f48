"""The whole metadata in one object, as the metadata API tells and takes it."""

from typing import Literal

from pydantic import Field

from devstack.standin.models.actions import Action, ActionDefinition, CustomName, CustomObject
from devstack.standin.models.allow_list import AllowList, Collections
from devstack.standin.models.base import GraphQLName, Many, Model, Named
from devstack.standin.models.roles import InheritedRoles
from devstack.standin.models.sources import DatabasesFile


class Typed(Model):
    """An argument of an action or a field of a custom type; `type` is GraphQL."""

    name: GraphQLName
    type: str
    description: str = ""


class MergedDefinition(ActionDefinition):
    """An action's definition with its signature."""

    type: Literal["query", "mutation"] = "mutation"
    arguments: Named[Typed] = ()
    output_type: str


class MergedAction(Action):
    """One action."""

    definition: MergedDefinition


class MergedObject(CustomObject):
    """An output type of actions."""

    fields: Named[Typed] = Field(min_length=1)
    description: str = ""


class MergedInput(CustomName):
    """An input type of actions."""

    fields: Named[Typed] = Field(min_length=1)
    description: str = ""


class EnumValue(Model):
    """One value of an enum."""

    value: GraphQLName
    description: str = ""


class MergedEnum(CustomName):
    """An enum."""

    values: Many[EnumValue] = Field(min_length=1)
    description: str = ""


class MergedScalar(CustomName):
    """A scalar."""

    description: str = ""


class MergedTypes(Model):
    """The custom types with all that belongs to them."""

    enums: Named[MergedEnum] = ()
    input_objects: Named[MergedInput] = ()
    objects: Named[MergedObject] = ()
    scalars: Named[MergedScalar] = ()


class MergedMetadata(Model):
    """The whole of it."""

    version: int = Field(ge=3, le=3)
    sources: DatabasesFile
    actions: Named[MergedAction] = ()
    custom_types: MergedTypes = MergedTypes()
    query_collections: Collections = ()
    allowlist: AllowList = ()
    inherited_roles: InheritedRoles = ()
