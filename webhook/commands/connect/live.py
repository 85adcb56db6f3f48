"""The running Hasura: what it is, what its metadata and the table are, and how both are changed."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx2

from webhook.commands.connect.columns import Column, Table
from webhook.commands.doctor.engine import Engine, json_of
from webhook.commands.doctor.examination import Examination, Trouble
from webhook.hasura.binding import Binding
from webhook.settings import RowSettings

_VERSION = re.compile(r"v?(\d+)\.")
_CAMEL = "graphql-default"
_TABLE = """SELECT json_build_object(
  'kind', c.relkind,
  'columns', (SELECT json_object_agg(a.attname,
      json_build_object('type', t.typname, 'not_null', a.attnotnull))
    FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
  'key', (SELECT json_agg(a.attname)
    FROM pg_index i JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey)
    WHERE i.indrelid = c.oid AND i.indisprimary))::text
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = {schema} AND c.relname = {name}"""
_PATIENCE_S = 120.0  # replacing the metadata of a large Hasura takes its time
_IMPATIENT = "SET LOCAL lock_timeout = '5s';\n"


@dataclass(frozen=True, slots=True)
class Exported:
    """The metadata, and the number of its changes."""

    metadata: Mapping[str, Any]
    resource_version: int


@dataclass(frozen=True, slots=True)
class Modes:
    """How this Hasura was set up."""

    is_camel: bool
    has_allow_list: bool


class Live:
    """Hasura, asked by its administrator about one of its databases."""

    def __init__(self, settings: RowSettings, source: str) -> None:
        self.engine = Engine(Examination(), settings)
        self.source = source
        self._base = settings.hasura_url

    def export(self) -> Exported:
        """Read the metadata.

        Raises:
            Trouble: it can't be had, or this Hasura is too old or too new.
        """
        self._refuse_other_versions()
        answer = self._ask("/v1/metadata", {"type": "export_metadata", "version": 2, "args": {}})
        metadata = answer.get("metadata")
        if not isinstance(metadata, Mapping) or metadata.get("version") != 3:
            raise Trouble("Hasura tells metadata of another form than version 3: upgrade it.")
        return Exported(metadata, answer["resource_version"])

    def replace(self, metadata: Mapping[str, Any], seen_version: int) -> None:
        """Replace the metadata, unless somebody has changed it.

        Raises:
            Trouble: it is refused, and everything is as it was.
        """
        self._ask(
            "/v1/metadata",
            {
                "type": "replace_metadata",
                "version": 2,
                "resource_version": seen_version,
                "args": {"allow_inconsistent_metadata": False, "metadata": metadata},
            },
        )

    def change_table(self, sql: str) -> None:
        """Run a statement, unless the table is in use for longer than some seconds.

        Raises:
            Trouble: it fails, and everything is as it was.
        """
        args = {"source": self.source, "sql": _IMPATIENT + sql}
        self._ask("/v2/query", {"type": "run_sql", "args": args})

    def table(self, binding: Binding) -> Table:
        """Read what the database has.

        Raises:
            Trouble: there is no such table.
        """
        sql = _TABLE.format(schema=_literal(binding.schema), name=_literal(binding.table))
        args = {"source": self.source, "sql": sql, "read_only": True}
        rows = self._ask("/v2/query", {"type": "run_sql", "args": args})["result"][1:]
        name = f"{binding.schema}.{binding.table}"
        if not rows:
            raise Trouble(
                f"The database {self.source} has no table {name}: correct TABLE, or apply "
                "migrations/ for a table of ours."
            )
        found = json.loads(rows[0][0])
        if found["kind"] not in ("r", "p"):
            raise Trouble(f"{name} is a view, and views have no event triggers: name its table.")
        columns = {name: Column(**it) for name, it in (found["columns"] or {}).items()}
        return Table(binding.schema, binding.table, columns, found["key"] or ())

    def modes(self, customization: Mapping[str, Any]) -> Modes:
        """Read the naming convention of the source, and whether there is an allow list.

        Where Hasura does not tell how it was set up, the metadata is believed.
        """
        response = self._get("/v1alpha1/config")
        config = json_of(response) if response.status_code == 200 else {}
        features = config.get("experimental_features", ["naming_convention"])
        convention = customization.get("naming_convention") or config.get(
            "default_naming_convention"
        )
        return Modes(
            is_camel=convention == _CAMEL and "naming_convention" in features,
            has_allow_list=config.get("is_allow_list_enabled") is True,
        )

    def _refuse_other_versions(self) -> None:
        version = str(json_of(self._get("/v1/version")).get("version"))
        number = _VERSION.match(version)
        if number and int(number[1]) != 2:
            raise Trouble(f"This Hasura is {version}: connect needs version 2.")

    def _get(self, path: str) -> httpx2.Response:
        return self.engine.get(self._base + path)

    def _ask(self, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        response = self.engine.post(self._base + path, body, {}, _PATIENCE_S)
        answer = json_of(response)
        if response.status_code == 200:
            return answer
        if response.status_code == 404:
            raise Trouble(
                f"{self._base}{path} is not there: add metadata to HASURA_GRAPHQL_ENABLED_APIS for "
                "as long as this takes, or correct HASURA_GRAPHQL_ENDPOINT."
            )
        match answer.get("code"):
            case "access-denied":
                raise Trouble(
                    "Hasura refuses the admin secret: correct HASURA_GRAPHQL_ADMIN_SECRET."
                )
            case "conflict":
                raise Trouble("Somebody else has changed the metadata meanwhile: try once more.")
        raise Trouble(f"Hasura refuses: {_reasons(answer)}{_advice(_reasons(answer))}")


def _reasons(answer: Mapping[str, Any]) -> str:
    """Tell all that an error says: the message alone does not name what is inconsistent."""
    said = str(answer.get("error", "it does not say why"))
    internal = answer.get("internal")
    if isinstance(internal, list):
        reasons = [str(it.get("reason")) for it in internal if isinstance(it, Mapping)]
    elif isinstance(internal, Mapping):
        reasons = [str((internal.get("error") or {}).get("message", ""))]
    else:
        reasons = []
    return ": ".join([said, "; ".join(filter(None, reasons))]).removesuffix(": ")


def _advice(reasons: str) -> str:
    unset = [name for name in ("WEBHOOK_BASE_URL", "WEBHOOK_SECRET") if name in reasons]
    return f" Set {unset[0]} in Hasura's environment, and start Hasura again." if unset else ""


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
