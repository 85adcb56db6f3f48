"""Hasura's metadata: do the event trigger and the action lead here, and wait long enough?"""

import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import httpx2

from webhook.commands.doctor.engine import APPLY, Engine, first_error, json_of
from webhook.commands.doctor.examination import Examination, Trouble, Untold
from webhook.commands.doctor.role import nobodys_id
from webhook.errors import RowNotFound, Unauthorized
from webhook.hasura.binding import binding_of
from webhook.hasura.client import TIMEOUT_S
from webhook.hasura.protocol import SECRET_HEADER
from webhook.http.app import ACTION_PATH, BODY_TIMEOUT_S, EVENT_PATH, RUNSYNC_PATH
from webhook.settings import Settings

# What Hasura takes where its metadata says nothing.
_DEFAULT_TRIGGER_TIMEOUT_S = 60
_DEFAULT_ACTION_TIMEOUT_S = 30

_NO_ANSWER = "http exception when calling webhook"


def examine_wiring(examination: Examination, settings: Settings, engine: Engine) -> None:
    """Read the metadata as the administrator, then call the action for a row that isn't there."""
    wiring = _Wiring(settings, engine)
    if not examination.check("metadata", wiring.is_told):
        examination.add("trigger, action", "skip", "need metadata")
        return
    examination.check("event trigger", wiring.has_trigger)
    if examination.check("action", wiring.has_action):
        examination.check("action leads here", wiring.action_leads_here)


class _Wiring:
    def __init__(self, settings: Settings, engine: Engine) -> None:
        self._settings = settings
        self._engine = engine
        self._binding = binding_of(settings)
        self._metadata: Mapping[str, Any] = {}
        self._action: Mapping[str, Any] = {}
        self._serves_here = False

    def is_told(self) -> str:
        url = self._settings.graphql_url.removesuffix("/graphql") + "/metadata"
        response = self._engine.post(url, {"type": "export_metadata", "args": {}}, {})
        metadata = json_of(response)
        if response.status_code == 404:
            raise Untold("the metadata API is off: look at trigger and action yourself")
        if response.status_code != 200 or "version" not in metadata:
            raise Trouble(
                f"Hasura does not tell its metadata: {metadata.get('error', 'no reason')}"
            )
        self._metadata = metadata
        return "told by Hasura"

    def has_trigger(self) -> str:
        name = self._binding.trigger
        trigger = next((found for found in self._triggers() if found.get("name") == name), None)
        if trigger is None:
            raise Trouble(f"{self._settings.table} has no event trigger {name}: {APPLY}")
        if "insert" not in trigger.get("definition", {}):
            raise Trouble(f"{name} does not fire on inserts: {APPLY}")
        _refuse_wrong_target(trigger.get("webhook"), EVENT_PATH, trigger)
        has_s = trigger.get("retry_conf", {}).get("timeout_sec", _DEFAULT_TRIGGER_TIMEOUT_S)
        # A failure that could not be written is tried once more when its delivery is given up.
        needs_s = BODY_TIMEOUT_S + self._settings.job_timeout_s + 2 * TIMEOUT_S
        _refuse_short(has_s, needs_s, "timeout_sec of the event trigger")
        return f"{name}, {has_s:g} s; a job takes {self._settings.job_timeout_s:g} s at most"

    def has_action(self) -> str:
        actions = self._metadata.get("actions", [])
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
        self._action = action
        return f"{name}, {has_s:g} s; a job takes {self._settings.job_timeout_s:g} s at most"

    def action_leads_here(self) -> str:
        """Call the action for a row that isn't there: only we say so in our own words."""
        name = self._binding.action
        roles = [entry["role"] for entry in self._action.get("permissions", [])]
        if not roles:
            raise Trouble(f"No role may call {name}: {APPLY}")
        self._refuse_another_secret_here()
        arguments = self._action["definition"].get("arguments", [])
        types = {argument["name"]: argument["type"] for argument in arguments}
        type_ = types.get("id", "uuid!")
        document = f"mutation ($id: {type_}) {{ {name}(id: $id) {{ __typename }} }}"
        session = {"x-hasura-role": roles[0], "x-hasura-user-id": str(uuid.uuid4())}
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

    def _triggers(self) -> Iterator[Mapping[str, Any]]:
        table = {"schema": self._binding.schema, "name": self._binding.table}
        for source in self._metadata.get("sources", []):
            for entry in source.get("tables", []):
                if entry.get("table") == table:
                    yield from entry.get("event_triggers", [])


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
