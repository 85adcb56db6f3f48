"""Who asks, as graphql-engine makes it out from the headers of a request."""

import pytest

from devstack.standin.errors import EngineError
from devstack.standin.session import Authentication

SECRET = {"x-hasura-admin-secret": "s"}
CLOSED = Authentication("s")
OPEN = Authentication("s", unauthorized_role="anonymous")
FLAG = "x-hasura-use-backend-only-permissions"


@pytest.mark.parametrize("role", [{}, {"x-hasura-role": ""}], ids=["no role", "empty role"])
def test_with_the_secret_and_without_a_role_it_is_the_admin(role: dict[str, str]) -> None:
    session = CLOSED.session(SECRET | role | {"x-hasura-user-id": "alice"})
    assert session.is_admin
    assert session.variables == {"x-hasura-role": "admin", "x-hasura-user-id": "alice"}


def test_an_empty_secret_is_a_wrong_one() -> None:
    with pytest.raises(EngineError, match="invalid"):
        OPEN.session({"x-hasura-admin-secret": ""})


def test_the_unauthorized_role_keeps_the_variables_and_not_the_role() -> None:
    session = OPEN.session({"x-hasura-role": "admin", "x-hasura-user-id": "bob", "accept": "*/*"})
    assert session.variables == {"x-hasura-role": "anonymous", "x-hasura-user-id": "bob"}


@pytest.mark.parametrize("value", ["true", "T", "yes", "n", "FALSE"])
def test_the_flag_for_backend_only_permissions_is_a_boolean(value: str) -> None:
    assert CLOSED.session(SECRET | {FLAG: value}).variables[FLAG] == value


def test_any_other_flag_is_a_bad_request() -> None:
    with pytest.raises(EngineError) as refused:
        CLOSED.session(SECRET | {FLAG: "1"})
    assert (refused.value.code, refused.value.path) == ("bad-request", "$")
    assert refused.value.message == (
        'x-hasura-use-backend-only-permissions:  Not a valid boolean text. True values are ["true",'
        '"t","yes","y"] and  False values are ["false","f","no","n"]. All values are case'
        " insensitive"
    )


def test_without_the_secret_nobody_reads_the_flag() -> None:
    assert OPEN.session({FLAG: "1"}).role == "anonymous"


def test_only_a_wrong_or_missing_secret_is_unauthorized() -> None:
    def status(headers: dict[str, str]) -> int:
        with pytest.raises(EngineError) as refused:
            CLOSED.session(headers)
        return refused.value.status

    assert status({}) == status({"x-hasura-admin-secret": "guess"}) == 401
    assert status(SECRET | {FLAG: "1"}) == 400
