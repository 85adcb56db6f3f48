"""Inherited roles: each has the rights of the roles in its set."""

from collections.abc import Iterable
from typing import Annotated

from pydantic import Field, RootModel

from devstack.standin.models.base import Many, Model, no_two


class InheritedRole(Model):
    """One inherited role; its set may hold others."""

    role_name: str
    role_set: Many[str] = Field(min_length=1)


InheritedRoles = Annotated[Many[InheritedRole], no_two("role_name")]


class InheritedRolesFile(RootModel[InheritedRoles]):
    """What inherited_roles.yaml holds."""


def parts_of(role: str, inherited: Iterable[InheritedRole]) -> tuple[str, ...]:
    """Name the roles whose rights a role has, itself first."""
    sets = {it.role_name: it.role_set for it in inherited}
    found = [role]
    for part in found:
        found += [name for name in sets.get(part, ()) if name not in found]
    return tuple(found)
