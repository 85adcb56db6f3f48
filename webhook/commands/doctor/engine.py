"""Hasura, asked as our role or as the administrator: does it answer, and to whom?"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import httpx2

from webhook.commands.doctor.examination import Examination, Trouble, Untold
from webhook.hasura.binding import binding_of
from webhook.hasura.client import NOT_IN_THE_ALLOW_LIST, ROLE, TIMEOUT_S
from webhook.settings import RowSettings

APPLY = "run `python -m webhook connect`, which adds what is missing."
# Named, as an allow list compares names: this one is in nobody's list.
_QUESTION = "query DoctorAsksWhetherYouAnswer { __typename }"


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
        self.binding = binding_of(settings)
        self.has_allow_list = False

    def answers(self) -> str:
        """See whether Hasura is there, and takes the admin secret."""
        answer = self.graphql(_QUESTION)
        self.has_allow_list = is_not_allowed(answer)
        told = f"answers at {self._settings.graphql_url}, and takes the admin secret"
        if self.has_allow_list:
            return f"{told}; its allow list is on"
        refuse_errors(answer, "Correct HASURA_GRAPHQL_ENDPOINT.")
        return told

    @cached_property
    def metadata(self) -> Mapping[str, Any]:
        """Hasura's metadata, as it tells its administrator.

        Raises:
            Untold: the metadata API is off.
            Trouble: Hasura does not tell it.
        """
        url = f"{self._settings.hasura_url}/v1/metadata"
        response = self.post(url, {"type": "export_metadata", "args": {}}, {})
        metadata = json_of(response)
        if response.status_code == 404:
            raise Untold(
                "Hasura's metadata API is off (HASURA_GRAPHQL_ENABLED_APIS): look at the event "
                "trigger, its SQL trigger and the action yourself"
            )
        if response.status_code != 200 or "version" not in metadata:
            raise Trouble(
                f"Hasura does not tell its metadata: {metadata.get('error', 'no reason')}"
            )
        return metadata

    def read(self, sql: str, source: str) -> Sequence[Sequence[str]]:
        """Ask a source's database as the administrator, who may only read; return the rows.

        Raises:
            Untold: Hasura does not ask it.
            Trouble: there is no answer.
        """
        body = {"type": "run_sql", "args": {"sql": sql, "source": source, "read_only": True}}
        response = self.post(f"{self._settings.hasura_url}/v2/query", body, {})
        answer = json_of(response)
        if response.status_code != 200 or not isinstance(answer.get("result"), list):
            reason = answer.get("error", f"HTTP {response.status_code}")
            raise Untold(f"Hasura does not ask its database ({reason}): look into it yourself")
        rows: Sequence[Sequence[str]] = answer["result"][1:]  # the first one has the names
        return rows

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
        return self._graphql_of(self.post(url, body, session or {"x-hasura-role": ROLE}))

    def graphql_without_secret(self, query: str) -> Mapping[str, Any]:
        """Run an operation as somebody who shows nothing; raises as `graphql`."""
        body = {"query": query}
        return self._graphql_of(self._send("POST", self._settings.graphql_url, {}, body))

    def takes_anybody_for_its_administrator(self) -> bool:
        """Tell whether Hasura has no admin secret."""
        body = {"type": "export_metadata", "args": {}}
        url = f"{self._settings.hasura_url}/v1/metadata"
        return self._send("POST", url, {}, body).status_code == 200

    def post(
        self, url: str, body: Any, headers: Mapping[str, str], timeout_s: float = TIMEOUT_S
    ) -> httpx2.Response:
        """Send JSON with the admin secret, and note the time that the answer tells.

        Raises:
            NoAnswer: there is none.
            Trouble: it leads elsewhere.
        """
        return self._send("POST", url, {**self._secret(), **headers}, body, timeout_s)

    def get(self, url: str) -> httpx2.Response:
        """Do as `post`, with nothing to send."""
        return self._send("GET", url, self._secret())

    def _secret(self) -> dict[str, str]:
        secret = self._settings.hasura_graphql_admin_secret.get_secret_value()
        return {"x-hasura-admin-secret": secret}

    def _send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: Any = None,
        timeout_s: float = TIMEOUT_S,
    ) -> httpx2.Response:
        try:
            response = httpx2.request(
                method, url, json=body, timeout=timeout_s, headers=dict(headers)
            )
        except httpx2.HTTPError as exc:
            raise NoAnswer(
                f"{url} can't be reached: see whether Hasura runs, and HASURA_GRAPHQL_ENDPOINT."
            ) from exc
        if response.has_redirect_location:
            raise Trouble(
                f"{url} redirects to {response.headers['location']}, where the secret is not sent: "
                "set HASURA_GRAPHQL_ENDPOINT to the address behind the redirect."
            )
        self._examination.note_clock("Hasura", response.headers.get("date"))
        return response

    def _graphql_of(self, response: httpx2.Response) -> Mapping[str, Any]:
        answer = json_of(response)
        if not {"data", "errors"} & answer.keys():
            url = self._settings.graphql_url
            raise Trouble(
                f"{url} does not answer as Hasura does: correct HASURA_GRAPHQL_ENDPOINT. It is "
                "Hasura's base address, a proxy's path included."
            )
        return answer


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


def is_not_allowed(answer: Mapping[str, Any]) -> bool:
    """Tell whether the allow list does not have what was asked."""
    return first_error(answer).get("message") == NOT_IN_THE_ALLOW_LIST


def first_error(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the first of GraphQL's errors; an empty one, if there is none."""
    errors = answer.get("errors") or [{}]
    return errors[0] if isinstance(errors[0], Mapping) else {}
