"""Hasura, asked as our role or as the administrator: does it answer, and to whom?"""

from collections.abc import Mapping
from typing import Any

import httpx2

from webhook.commands.doctor.examination import Examination, Trouble
from webhook.hasura.client import ROLE, TIMEOUT_S
from webhook.settings import RowSettings

APPLY = "apply hasura_metadata/ (hasura metadata apply)."


def examine_engine(examination: Examination, engine: "Engine") -> bool:
    """Tell whether Hasura answers at all."""
    if examination.check("Hasura", engine.answers):
        return True
    examination.add("role, trigger, action", "skip", "need Hasura")
    return False


class NoAnswer(Trouble):
    """Nothing came back: whether Hasura did what it was asked to is not known."""


class Engine:
    """Hasura, asked as our role or as the administrator."""

    def __init__(self, examination: Examination, settings: RowSettings) -> None:
        self._examination = examination
        self._settings = settings

    def answers(self) -> str:
        """See whether Hasura is there, and takes the admin secret."""
        refuse_errors(self.graphql("{ __typename }"), "Correct HASURA_GRAPHQL_ENDPOINT.")
        return f"answers at {self._settings.graphql_url}, and takes the admin secret"

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

    def post(
        self, url: str, body: Any, headers: Mapping[str, str], timeout_s: float = TIMEOUT_S
    ) -> httpx2.Response:
        """Send JSON with the admin secret, and note the time that the answer tells.

        Raises:
            NoAnswer: there is none.
        """
        return self._send("POST", url, headers, timeout_s, body)

    def get(self, url: str) -> httpx2.Response:
        """Do as `post`, with nothing to send."""
        return self._send("GET", url, {}, TIMEOUT_S)

    def _send(
        self, method: str, url: str, headers: Mapping[str, str], timeout_s: float, body: Any = None
    ) -> httpx2.Response:
        secret = self._settings.hasura_graphql_admin_secret.get_secret_value()
        try:
            response = httpx2.request(
                method,
                url,
                json=body,
                timeout=timeout_s,
                headers={"x-hasura-admin-secret": secret, **headers},
            )
        except httpx2.HTTPError as exc:
            raise NoAnswer(
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


def refuse_errors(answer: Mapping[str, Any], advice: str) -> None:
    """Raise what an answer says of an error, with what to do.

    Raises:
        Trouble: it holds one.
    """
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
