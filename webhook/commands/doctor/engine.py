"""Hasura: does it answer, and may our role do its work, and no more?"""

import uuid
from collections.abc import Mapping
from typing import Any

import httpx2

from webhook.commands.doctor.examination import Examination, Trouble, Untold
from webhook.domain import RemovalResult, RowState
from webhook.hasura.client import DOCUMENTS, ROLE, TIMEOUT_S, changes_of_result, writing
from webhook.hasura.protocol import TABLE_NAME
from webhook.settings import Settings

APPLY = "apply hasura_metadata/ (hasura metadata apply)."
_QUERIES = {TABLE_NAME, f"{TABLE_NAME}_by_pk", f"{TABLE_NAME}_aggregate", "no_queries_available"}
_MUTATIONS = {f"update_{TABLE_NAME}{kind}" for kind in ("", "_by_pk", "_many")}
_WHAT_THE_ROLE_SEES = f"""{{
  __schema {{ queryType {{ fields {{ name }} }} mutationType {{ fields {{ name }} }} }}
  __type(name: "{TABLE_NAME}_set_input") {{ inputFields {{ name }} }}
}}"""


def examine_role(examination: Examination, engine: "Engine") -> bool:
    """Ask as the role, without changing a row; tell whether Hasura answers at all."""
    if not examination.check("Hasura", engine.answers):
        examination.add("role, trigger, action", "skip", "need Hasura")
        return False
    examination.check("role reads", engine.role_reads)
    examination.check("role writes", engine.role_writes)
    examination.check("role does no more", engine.role_does_no_more)
    return True


class Engine:
    """Hasura, asked as our role or as the administrator."""

    def __init__(self, examination: Examination, settings: Settings) -> None:
        self._examination = examination
        self._settings = settings

    def answers(self) -> str:
        """See whether Hasura is there, and takes the admin secret."""
        _refuse_errors(self.graphql("{ __typename }"), "Correct HASURA_GRAPHQL_ENDPOINT.")
        return f"answers at {self._settings.graphql_url}, and takes the admin secret"

    def role_reads(self) -> str:
        """Ask for a row as the service does."""
        document = (DOCUMENTS / "list_images.graphql").read_text("utf-8")
        answer = self.graphql(document, {"where": {}, "limit": 1})
        _refuse_errors(answer, f"The role {ROLE} must be able to read {TABLE_NAME}: {APPLY}")
        return f"{ROLE} may read {TABLE_NAME}"

    def role_writes(self) -> str:
        """Write to a row that isn't there: permissions are checked before that is noticed."""
        document = (DOCUMENTS / "record_removal.graphql").read_text("utf-8")
        result = RemovalResult(str(uuid.uuid4()), "key", "model", 1, 1, 1.0)
        row = RowState(result.image_id, 0)
        answer = self.graphql(document, writing(row, changes_of_result(result)))
        _refuse_errors(answer, f"The role {ROLE} must be able to write results: {APPLY}")
        return f"{ROLE} may write the result columns"

    def role_does_no_more(self) -> str:
        """Compare what the role is offered with what the service needs."""
        seen = self.graphql(_WHAT_THE_ROLE_SEES).get("data")
        if not isinstance(seen, Mapping):
            raise Untold(f"introspection is off for {ROLE}: look through its permissions yourself")
        schema, columns = seen["__schema"], seen["__type"]
        queries = _names(schema["queryType"], "fields") - _QUERIES
        mutations = _names(schema["mutationType"], "fields") - _MUTATIONS
        result = changes_of_result(RemovalResult("", "", "", 1, 1, 1.0))
        needed = set(writing(RowState("", 0), result)["changes"])
        writes = {f"{TABLE_NAME}.{name}" for name in _names(columns, "inputFields") - needed}
        if too_much := sorted(queries | mutations | writes):
            raise Trouble(
                f"The role {ROLE} may also use {', '.join(too_much)}: take it away, or {APPLY}"
            )
        return f"{ROLE} sees no other table, and writes no other column"

    def graphql(
        self,
        query: str,
        variables: Mapping[str, Any] | None = None,
        session: Mapping[str, str] | None = None,
    ) -> Mapping[str, Any]:
        """Run an operation, as our role or in another session; return the answer, errors and all.

        Raises:
            Trouble: there is no such answer.
        """
        body = {"query": query, "variables": variables or {}}
        url = self._settings.graphql_url
        answer = json_of(self.post(url, body, session or {"x-hasura-role": ROLE}))
        if not {"data", "errors"} & answer.keys():
            raise Trouble(f"{url} does not answer as Hasura does: correct HASURA_GRAPHQL_ENDPOINT.")
        return answer

    def post(self, url: str, body: Any, headers: Mapping[str, str]) -> httpx2.Response:
        """Send JSON with the admin secret, and note the time that the answer tells.

        Raises:
            Trouble: there is no answer.
        """
        secret = self._settings.hasura_graphql_admin_secret.get_secret_value()
        try:
            response = httpx2.post(
                url,
                json=body,
                timeout=TIMEOUT_S,
                headers={"x-hasura-admin-secret": secret, **headers},
            )
        except httpx2.HTTPError as exc:
            raise Trouble(
                f"{url} can't be reached: see whether Hasura runs, and HASURA_GRAPHQL_ENDPOINT."
            ) from exc
        self._examination.note_clock("Hasura", response.headers.get("date"))
        return response


def json_of(response: httpx2.Response) -> Mapping[str, Any]:
    """Return an answer's object; an empty one, if it is something else."""
    try:
        body = response.json()
    except ValueError:
        return {}
    return body if isinstance(body, Mapping) else {}


def _refuse_errors(answer: Mapping[str, Any], advice: str) -> None:
    if "errors" not in answer:
        return
    error = first_error(answer)
    if error.get("extensions", {}).get("code") == "access-denied":
        raise Trouble("Hasura refuses the admin secret: correct HASURA_GRAPHQL_ADMIN_SECRET.")
    raise Trouble(f"Hasura says: {error.get('message')}. {advice}")


def first_error(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the first of GraphQL's errors; an empty one, if there is none."""
    errors = answer.get("errors") or [{}]
    return errors[0] if isinstance(errors[0], Mapping) else {}


def _names(type_: Mapping[str, Any] | None, key: str) -> set[str]:
    return {item["name"] for item in (type_ or {}).get(key) or ()}
