"""Hasura's metadata: do the event trigger and the action lead here, and wait long enough?"""

from collections.abc import Iterator, Mapping
from typing import Any

import httpx2

from webhook.commands.doctor.engine import APPLY, Engine, first_error
from webhook.commands.doctor.examination import Examination, Trouble, Untold
from webhook.commands.doctor.modes import examine_modes, sources_of
from webhook.commands.doctor.role import nobodys_id
from webhook.errors import RowNotFound, Unauthorized
from webhook.hasura.client import TIMEOUT_S
from webhook.hasura.documents import Documents
from webhook.hasura.protocol import SECRET_HEADER
from webhook.http.app import ACTION_PATH, BODY_TIMEOUT_S, EVENT_PATH, RUNSYNC_PATH
from webhook.settings import Settings

# What Hasura takes where its metadata says nothing.
_DEFAULT_TRIGGER_TIMEOUT_S = 60
_DEFAULT_ACTION_TIMEOUT_S = 30

_TRIGGERS = """
SELECT t.tgname, t.tgenabled
FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = '{}' AND c.relname = '{}' AND NOT t.tgisinternal
"""
_FIRING = ("O", "A")  # pg_trigger.tgenabled; others fire never, or on a replica alone

_NO_ANSWER = "http exception when calling webhook"


def examine_wiring(
    examination: Examination, settings: Settings, engine: Engine, documents: Documents | None
) -> None:
    """Read the metadata as the administrator, then call the action for a row that isn't there."""
    wiring = _Wiring(settings, engine, documents)
    if examination.check("metadata", wiring.is_told):
        examine_modes(examination, engine)
        examination.check("event trigger", wiring.has_trigger)
        examination.check("SQL trigger", wiring.has_sql_triggers)
        if not examination.check("action", wiring.has_action):
            return
    elif examination.findings[-1].status == "fail":
        examination.add("trigger, action", "skip", "need metadata")
        return
    examination.check("action leads here", wiring.action_leads_here)


class _Wiring:
    def __init__(self, settings: Settings, engine: Engine, documents: Documents | None) -> None:
        self._settings = settings
        self._engine = engine
        self._binding = engine.binding
        self._source: Mapping[str, Any] = {}
        self._serves_here = False
        # The action's own where the metadata tells it; else most likely that of the table.
        self._id_type = documents.find_image.types["id"] + "!" if documents else "uuid!"

    def is_told(self) -> str:
        return f"told by Hasura, version {self._engine.metadata['version']}"

    def has_trigger(self) -> str:
        name = self._binding.trigger
        found = list(self._triggers(name))
        if not found:
            raise Trouble(f"{self._settings.table} has no event trigger {name}: {APPLY}")
        if len(found) > 1:
            sources = " and ".join(source["name"] for source, _ in found)
            raise Trouble(
                f"The sources {sources} both have a table {self._settings.table} with the event "
                f"trigger {name}. Events do not tell their source: keep one of the triggers."
            )
        self._source, trigger = found[0]
        if "insert" not in trigger.get("definition", {}):
            raise Trouble(f"{name} does not fire on inserts: {APPLY}")
        _refuse_wrong_target(trigger.get("webhook"), EVENT_PATH, trigger)
        has_s = trigger.get("retry_conf", {}).get("timeout_sec", _DEFAULT_TRIGGER_TIMEOUT_S)
        # A failure that could not be written is tried once more when its delivery is given up.
        needs_s = BODY_TIMEOUT_S + self._settings.job_timeout_s + 2 * TIMEOUT_S
        _refuse_short(has_s, needs_s, "timeout_sec of the event trigger")
        return f"{name}, {has_s:g} s; a job takes {self._settings.job_timeout_s:g} s at most"

    def has_sql_triggers(self) -> str:
        """Look for what makes the events: Hasura's own triggers in the database."""
        if not self._source:
            raise Untold("needs the event trigger")
        kind = self._source.get("kind", "postgres")
        if kind != "postgres":
            raise Untold(f"the source is of the kind {kind}: look at its triggers yourself")
        wanted = [
            f"notify_hasura_{trigger['name']}_{operation.upper()}"
            for name in (self._binding.trigger, self._binding.delete_trigger)
            for _, trigger in self._triggers(name)
            for operation in ("insert", "update", "delete")
            if operation in trigger["definition"]
        ]
        schema, table = self._binding.schema, self._binding.table
        names = [name.replace("'", "''") for name in (schema, table)]
        rows = self._engine.read(_TRIGGERS.format(*names), self._source["name"])
        states = {name: state for name, state in rows}
        if missing := [name for name in wanted if name not in states]:
            raise Trouble(
                f"The database lacks the trigger {', '.join(missing)}, so Hasura makes no events: "
                'recreate it by reload_metadata with "recreate_event_triggers": true, as '
                "docs/operations.md shows."
            )
        if off := [name for name in wanted if states[name] not in _FIRING]:
            raise Trouble(
                f"The trigger {', '.join(off)} is disabled in the database, so Hasura makes no "
                f'events: ALTER TABLE "{schema}"."{table}" ENABLE TRIGGER "{off[0]}";'
            )
        return f"the database has {', '.join(wanted)}"

    def has_action(self) -> str:
        actions = self._engine.metadata.get("actions", [])
        name = self._binding.action
        action = next((found for found in actions if found.get("name") == name), None)
        if action is None:
            raise Trouble(f"There is no action {name}: {APPLY}")
        definition = action.get("definition", {})
        _refuse_wrong_target(definition.get("handler"), ACTION_PATH, definition)
        if definition.get("forward_client_headers"):
            raise Trouble(
                "forward_client_headers lets clients replace the secret: set it to false."
            )
        has_s = definition.get("timeout", _DEFAULT_ACTION_TIMEOUT_S)
        needs_s = BODY_TIMEOUT_S + self._settings.job_timeout_s + 2 * TIMEOUT_S
        _refuse_short(has_s, needs_s, "timeout of the action")
        if not action.get("permissions"):
            raise Trouble(f"No role may call {name}: {APPLY}")
        types = {argument["name"]: argument["type"] for argument in definition.get("arguments", ())}
        self._id_type = types.get("id", self._id_type)
        return f"{name}, {has_s:g} s; a job takes {self._settings.job_timeout_s:g} s at most"

    def action_leads_here(self) -> str:
        """Call the action for a row that isn't there: only we say so in our own words."""
        name = self._binding.action
        self._refuse_another_secret_here()
        type_ = self._id_type
        document = f"mutation ($id: {type_}) {{ {name}(id: $id) {{ __typename }} }}"
        session = {"x-hasura-role": "admin"}  # whom no allow list holds up
        image_id = nobodys_id(type_.removesuffix("!"))
        variables = {"id": int(image_id) if type_.startswith("Int") else image_id}
        try:
            answer = self._engine.graphql(document, variables, session)
        except Trouble as exc:  # it has just answered other questions
            raise Trouble(
                "Hasura waits in vain for where WEBHOOK_BASE_URL leads: correct that in its "
                "environment, or open the way."
            ) from exc
        error = first_error(answer)
        code = error.get("extensions", {}).get("code")
        if code == RowNotFound.code:
            return "Hasura reaches the service, with its secret"
        if code == "validation-failed":
            raise Trouble(f"Hasura has no such {name} ({error.get('message')}): {APPLY}")
        if code == Unauthorized.code:
            raise Trouble("Hasura sends another secret: give both the same WEBHOOK_SECRET.")
        if error.get("message") != _NO_ANSWER:
            raise Trouble(
                f"Something else answers ({error.get('message')}): correct WEBHOOK_BASE_URL in "
                "Hasura's environment."
            )
        if not self._serves_here:
            raise Untold("the service does not run here: start it, and ask again")
        raise Trouble(
            "Hasura does not reach the service: correct WEBHOOK_BASE_URL in Hasura's environment, "
            "or open the way."
        )

    def _refuse_another_secret_here(self) -> None:
        """Compare our secret with that of the service on this machine, if one runs."""
        secret = self._settings.webhook_secret.get_secret_value()
        url = f"http://127.0.0.1:{self._settings.port}{RUNSYNC_PATH}"
        try:
            answer = httpx2.post(url, timeout=TIMEOUT_S, headers={SECRET_HEADER: secret})
        except httpx2.HTTPError:
            return
        self._serves_here = True
        if answer.status_code == Unauthorized.http_status:
            raise Trouble(
                "The service that runs here has another WEBHOOK_SECRET than these settings."
            )

    def _triggers(self, name: str) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
        """Find the table's event triggers of this name, with the source of each."""
        for source, entry in sources_of(self._engine.metadata, self._binding):
            for trigger in entry.get("event_triggers", []):
                if trigger.get("name") == name:
                    yield source, trigger


def _refuse_wrong_target(address: Any, path: str, holder: Mapping[str, Any]) -> None:
    """Compare what can be: the rest of an address is a variable of Hasura's environment."""
    if isinstance(address, str) and not address.endswith(path):
        raise Trouble(f"It calls {address}, not {path} of the service: {APPLY}")
    headers = {header.get("name", "").lower() for header in holder.get("headers", [])}
    if SECRET_HEADER not in headers:
        raise Trouble(f"It does not send the header {SECRET_HEADER}: {APPLY}")


def _refuse_short(has_s: float, needs_s: float, what: str) -> None:
    if has_s <= needs_s:
        raise Trouble(
            f"The {what} is {has_s:g} s, but we may take {needs_s:g} s: Hasura would give up what "
            "is still in work. Raise it, or lower JOB_TIMEOUT_S."
        )
