"""How Hasura names a table, its columns and root fields, by its naming convention and by choice."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# What Hasura puts before and after the table's name in the name of a root field.
_ROOT_FIELDS = {
    "select": ((), ()),
    "select_by_pk": ((), ("by", "pk")),
    "update": (("update",), ()),
}
_SCALARS = {
    "int2": "smallint",
    "int4": "Int",
    "int8": "bigint",
    "float4": "Float",
    "bool": "Boolean",
    "text": "String",
    "varchar": "String",
}


@dataclass(frozen=True, slots=True)
class Names:
    """The names of one table in the API.

    Attributes:
        schema: Of the table.
        table: Its name in the database.
        is_camel: The naming convention is graphql-default.
        configuration: What the metadata says of the table's names.
        prefix: Before each root field of the source.
        suffix: After it.
    """

    schema: str
    table: str
    is_camel: bool = False
    configuration: Mapping[str, Any] = field(default_factory=dict)
    prefix: str = ""
    suffix: str = ""

    def root(self, kind: str) -> str:
        """Name a root field."""
        chosen = (self.configuration.get("custom_root_fields") or {}).get(kind)
        if isinstance(chosen, Mapping):
            chosen = chosen.get("name")
        return self._around(chosen or self._usual_root(kind))

    def column(self, name: str) -> str:
        """Name a column."""
        config = (self.configuration.get("column_config") or {}).get(name) or {}
        older = self.configuration.get("custom_column_names") or {}
        return config.get("custom_name") or older.get(name) or self.argument(name)

    def argument(self, name: str) -> str:
        """Name an argument, or whatever else has no other name than its own."""
        return self._joined(_words(name), is_chosen=False)

    def order(self, name: str) -> str:
        """Name an order: `asc` or `desc`."""
        return name.upper() if self.is_camel else name

    def _usual_root(self, kind: str) -> str:
        before, after = _ROOT_FIELDS[kind]
        chosen = self.configuration.get("custom_name")
        words = (chosen,) if chosen else _words(self.table)
        if not chosen and self.schema != "public":
            words = (*_words(self.schema), *words)
        is_chosen = bool(chosen) and not before
        return self._joined((*before, *words, *after), is_chosen=is_chosen)

    def _joined(self, words: tuple[str, ...], *, is_chosen: bool) -> str:
        if not self.is_camel:
            return "_".join(words)
        first, *others = words
        first = first if is_chosen else first[:1].lower() + first[1:]
        return first + "".join(map(_capital, others))

    def _around(self, name: str) -> str:
        if not self.is_camel:
            return self.prefix + name + self.suffix
        return self.prefix + (_capital(name) if self.prefix else name) + _capital(self.suffix)


def scalar(type_: str) -> str:
    """Return what Hasura calls a type of Postgres."""
    return _SCALARS.get(type_, type_)


def _words(name: str) -> tuple[str, ...]:
    """Split a name at its underscores, but for one at its beginning."""
    first, *others = name.split("_")
    if first or not others:
        return first, *others
    return "_" + others[0], *others[1:]


def _capital(word: str) -> str:
    return word[:1].upper() + word[1:]
