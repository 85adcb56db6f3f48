"""The columns that a row of migrations leaves each table with, read from their SQL.

Understands what schema migrations say (CREATE TABLE, ADD COLUMN, DROP COLUMN), not all of SQL;
test_coherence.py holds it against a real Postgres.
"""

import re
from collections.abc import Iterable, Iterator

Table = tuple[str, str]  # schema, name

# A comment, a dollar-quoted body or a string: their commas, brackets and semicolons mean nothing.
_OPAQUE = re.compile(r"--[^\n]*|/\*.*?\*/|(\$\w*\$).*?\1|'(?:[^']|'')*'", re.DOTALL)
_NAME = r'(?:"?(?P<schema>\w+)"?\.)?"?(?P<name>\w+)"?'
_CREATE_TABLE = re.compile(
    rf"CREATE TABLE (?:IF NOT EXISTS )?{_NAME} ?\((?P<body>.*)\)", re.IGNORECASE
)
_ALTER_TABLE = re.compile(
    rf"ALTER TABLE (?:IF EXISTS )?(?:ONLY )?{_NAME} (?P<body>.*)", re.IGNORECASE
)
_ADD_COLUMN = re.compile(r'ADD COLUMN (?:IF NOT EXISTS )?"?(\w+)"?', re.IGNORECASE)
_DROP_COLUMN = re.compile(r'DROP COLUMN (?:IF EXISTS )?"?(\w+)"?', re.IGNORECASE)
_TABLE_CONSTRAINTS = {"CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK", "FOREIGN", "EXCLUDE", "LIKE"}


def columns_after(migrations: Iterable[str]) -> dict[Table, set[str]]:
    """The columns of each table after the up.sql texts have run in order."""
    tables: dict[Table, set[str]] = {}
    for sql in migrations:
        for statement in _OPAQUE.sub(" ", sql).split(";"):
            plain = " ".join(statement.split())
            if match := _CREATE_TABLE.match(plain):
                tables[_table(match)] = set(_column_names(match["body"]))
            elif match := _ALTER_TABLE.match(plain):
                columns = tables.setdefault(_table(match), set())
                columns.update(_ADD_COLUMN.findall(match["body"]))
                columns.difference_update(_DROP_COLUMN.findall(match["body"]))
    return tables


def _table(match: re.Match[str]) -> Table:
    return match["schema"] or "public", match["name"]


def _column_names(body: str) -> Iterator[str]:
    for part in _split_at_top_level_commas(body):
        first_word = part.split()[0]
        if first_word.upper() not in _TABLE_CONSTRAINTS:
            yield first_word.strip('"')


def _split_at_top_level_commas(body: str) -> Iterator[str]:
    depth = start = 0
    for position, character in enumerate(body):
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 0:
            yield body[start:position]
            start = position + 1
    yield body[start:]
