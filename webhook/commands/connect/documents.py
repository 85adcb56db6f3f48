"""The GraphQL documents for a table: the mapping between the service and the database."""

from collections.abc import Iterable, Mapping

from webhook.commands.connect.columns import Columns
from webhook.commands.connect.names import Names, scalar

# Below every id of its type: the first page of rows begins after it.
_LOWEST = {
    "uuid": '"00000000-0000-0000-0000-000000000000"',
    "bigint": "-9223372036854775808",
    "Int": "-2147483648",
    "String": '""',
}
_REMOVAL = (
    *("status", "key", "etag", "width", "height", "coverage", "model", "renditions", "subject"),
    "processed_at",
)
_MAY_BE_NULL = ("renditions", "subject")
_FAILURE = ("status", "error_code", "error_message", "processed_at")


def write_documents(columns: Columns, names: Names) -> dict[str, str]:
    """Write all documents; return them by their files' names."""
    writer = _Writer(columns, names)
    texts = {
        "find_image": writer.find("FindImage", "May the caller of the mutation see this row?"),
        "find_row": writer.find_row(),
        "list_images": writer.list_images(),
        "record_removal": writer.record(
            "RecordRemoval", "Writes a result, unless the row was written meanwhile.", _REMOVAL
        ),
        "record_failure": writer.record(
            "RecordFailure", "Writes a failure, unless the row was written meanwhile.", _FAILURE
        ),
    }
    return {f"{name}.graphql": text for name, text in texts.items()}


def read_columns(columns: Columns) -> list[str]:
    """List the columns that the documents read."""
    named = [columns.values[value][0] for value in ("status", "etag", "lock_version")]
    more = [name for name in (columns.created_at, columns.source_key) if name]
    return list(dict.fromkeys([columns.id[0], *named, *more]))


def written_columns(columns: Columns) -> list[str]:
    """List the columns that the documents write."""
    return [name for name, _ in columns.values.values()]


class _Writer:
    def __init__(self, columns: Columns, names: Names) -> None:
        self._columns = columns
        self._names = names
        self._id = names.column(columns.id[0])
        self._id_type = scalar(columns.id[1])

    def find(self, title: str, comment: str, more: Iterable[str] = ()) -> str:
        selected = "".join(f"    {line}\n" for line in (_aliased("id", self._id), *more))
        return (
            f"# {comment}\n"
            f"query {title}($id: {self._id_type}!) {{\n"
            f"  row: {self._names.root('select_by_pk')}({self._id}: $id) {{\n{selected}  }}\n}}\n"
        )

    def find_row(self) -> str:
        known = {
            "lock_version": self._column("lock_version"),
            "created_at": self._optional(self._columns.created_at),
            "source_key": self._optional(self._columns.source_key),
        }
        comment = "What the service knows of a row before it works on it."
        return self.find("FindRow", comment, _selected(known))

    def list_images(self) -> str:
        status, created_at = self._column("status"), self._optional(self._columns.created_at)
        variables = [f"$after: {self._id_type} = {_LOWEST[self._id_type]}"]
        where = [f"{self._id}: {{ _gt: $after }}"]
        if created_at:
            variables.append("$created_before: timestamptz!")
            where.append(f"{created_at}: {{ _lt: $created_before }}")
        type_ = self._type("status")
        variables += [f'$statuses: [{type_}!] = ["pending", "done", "failed"]', "$limit: Int!"]
        where.append(f"{status}: {{ _in: $statuses }}")
        known = {
            "id": self._id,
            "status": status,
            "cutout_etag": self._column("etag"),
            "source_key": self._optional(self._columns.source_key),
        }
        return (
            "# One page of rows in the order of their ids, for backfill.\n"
            f"query ListImages(\n{_lines(variables, 2)}) {{\n"
            f"  rows: {self._names.root('select')}(\n"
            f"    where: {{\n{_lines(where, 6)}    }}\n"
            f"    {self._names.argument('order_by')}: "
            f"{{ {self._id}: {self._names.order('asc')} }}\n"
            f"    limit: $limit\n"
            f"  ) {{\n{_lines(_selected(known), 4)}  }}\n}}\n"
        )

    def record(self, title: str, comment: str, values: Iterable[str]) -> str:
        values = list(values)
        version = self._column("lock_version")
        variables = [
            f"$id: {self._id_type}!",
            f"$lock_version: {self._type('lock_version')}!",
            f"$next_lock_version: {self._type('lock_version')}!",
            *(
                f"${value}: {self._type(value)}{'' if value in _MAY_BE_NULL else '!'}"
                for value in values
            ),
        ]
        changes = [
            f"{version}: $next_lock_version",
            *(f"{self._column(value)}: ${value}" for value in values),
        ]
        if "error_code" not in values:
            changes += [f"{self._column(it)}: null" for it in ("error_code", "error_message")]
        where = f"{{ {self._id}: {{ _eq: $id }}, {version}: {{ _eq: $lock_version }} }}"
        return (
            f"# {comment}\n"
            f"mutation {title}(\n{_lines(variables, 2)}) {{\n"
            f"  written: {self._names.root('update')}(\n"
            f"    where: {where}\n"
            f"    _set: {{\n{_lines(changes, 6)}    }}\n"
            f"  ) {{\n    returning {{\n      {_aliased('id', self._id)}\n    }}\n  }}\n}}\n"
        )

    def _column(self, value: str) -> str:
        return self._names.column(self._columns.values[value][0])

    def _type(self, value: str) -> str:
        return scalar(self._columns.values[value][1])

    def _optional(self, column: str | None) -> str | None:
        return self._names.column(column) if column else None


def _selected(known: Mapping[str, str | None]) -> list[str]:
    return [_aliased(alias, name) for alias, name in known.items() if name]


def _aliased(alias: str, name: str) -> str:
    return name if name == alias else f"{alias}: {name}"


def _lines(lines: Iterable[str], indent: int) -> str:
    return "".join(f"{' ' * indent}{line}\n" for line in lines)
