"""How graphql-engine makes names for the API out of those of tables and columns.

hasura-default joins words by underscores. graphql-default writes fields in camelCase and types in
PascalCase, and leaves a name that somebody chose as it is, where it comes first.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from devstack.standin.models.tables import TableConfiguration, TableName

_NAME = re.compile(r"[_A-Za-z][_0-9A-Za-z]*")
# What stands before and after the table's name in the name of a root field.
ROOT_FIELDS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "select": ((), ()),
    "select_by_pk": ((), ("by", "pk")),
    "select_aggregate": ((), ("aggregate",)),
    "insert": (("insert",), ()),
    "insert_one": (("insert",), ("one",)),
    "update": (("update",), ()),
    "update_by_pk": (("update",), ("by", "pk")),
    "delete": (("delete",), ()),
    "delete_by_pk": (("delete",), ("by", "pk")),
}


@dataclass(frozen=True)
class Convention:
    """One of the two conventions, and what the source puts around its root fields."""

    is_camel: bool = False
    prefix: str = ""
    suffix: str = ""

    def field(self, *words: str, is_custom: bool = False) -> str:
        """Name a field or an argument; `is_custom`: somebody chose the first word."""
        if not self.is_camel:
            return "_".join(words)
        first = words[0] if is_custom else words[0][:1].lower() + words[0][1:]
        return first + "".join(map(_capital, words[1:]))

    def type(self, *words: str, is_custom: bool = False) -> str:
        """Name a type."""
        if not self.is_camel:
            return "_".join(words)
        first = words[0] if is_custom else _capital(words[0])
        return first + "".join(map(_capital, words[1:]))

    def spell(self, name: str) -> str:
        """Name a field, an argument or a column by a name with underscores."""
        return self.field(*words_of(name))

    def spell_type(self, name: str) -> str:
        """Name a type by a name with underscores."""
        return self.type(*words_of(name))

    def customised(self, root_field: str) -> str:
        """Put the source's prefix and suffix around the name of a root field."""
        if not self.is_camel:
            return self.prefix + root_field + self.suffix
        name = _capital(root_field) if self.prefix else root_field
        return self.prefix + name + _capital(self.suffix)

    def constant(self, name: str) -> str:
        """Name a value of an enum."""
        return name.upper() if self.is_camel else name


@dataclass(frozen=True)
class TableNames:
    """The names of one table in the API."""

    table: TableName
    configuration: TableConfiguration
    convention: Convention

    def type(self, *suffix: str) -> str:
        """Name the type of its rows, or one that belongs to it."""
        words, is_custom = self._stem()
        return self.convention.type(*words, *suffix, is_custom=is_custom)

    def root(self, kind: str) -> str:
        """Name a root field; kinds are the keys of custom_root_fields."""
        if (chosen := self.configuration.custom_root_fields.chosen(kind)) is not None:
            return self.convention.customised(chosen)
        before, after = ROOT_FIELDS[kind]
        words, is_custom = self._stem()
        is_custom = is_custom and not before
        name = self.convention.field(*before, *words, *after, is_custom=is_custom)
        return self.convention.customised(name)

    def column(self, name: str) -> str | None:
        """Name a column; None if the API can't have it under its name."""
        spelt = self.configuration.column_names.get(name) or self.convention.spell(name)
        return spelt if _NAME.fullmatch(spelt) else None

    def _stem(self) -> tuple[tuple[str, ...], bool]:
        if self.configuration.custom_name is not None:
            return (self.configuration.custom_name,), True
        words = words_of(self.table.name)
        if self.table.schema_ != "public":
            words = (*words_of(self.table.schema_), *words)
        return words, False


def words_of(name: str) -> tuple[str, ...]:
    """Split a name at its underscores, but for one at its beginning."""
    first, *others = name.split("_")
    if first or not others:
        return first, *others
    return "_" + others[0], *others[1:]


def _capital(word: str) -> str:
    return word[:1].upper() + word[1:]
