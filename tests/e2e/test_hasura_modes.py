"""Hasura in each of its modes: what doctor says of it, and what the service does."""

import copy
import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr
from starlette.testclient import TestClient

from devstack.stack import Stack
from tests.support import standin_engine as standin
from tests.support.bodies import MOMENT, action_body, event_body, event_part
from tests.support.doctor import Doctor
from tests.support.fakes import FakeStore, make_image
from tests.support.forwarding import forwarding
from tests.support.house import make_service
from tests.support.other_names import camel, write_renamed
from tests.support.standin_engine import Engine, new_id
from webhook.hasura.client import ROLE, open_hasura
from webhook.hasura.documents import load_documents
from webhook.http.app import ACTION_PATH, EVENT_PATH, create_app
from webhook.pipeline import Service
from webhook.settings import DOCUMENTS

SECRET = "the-secret-of-these-tests"
SQL_TRIGGER = "notify_hasura_images_remove_background_INSERT"
DELETE_TRIGGER = "images_remove_cutouts"
Metadata = dict[str, Any]
MakeDatabase = Callable[[], str]
StartHasura = Callable[..., Engine]


@pytest.fixture(scope="module")
def make_database(stack: Stack) -> MakeDatabase:
    numbers = itertools.count()

    def make() -> str:
        name = f"modes_{next(numbers)}"
        with psycopg.connect(stack.database_url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return stack.database_url.rpartition("/")[0] + "/" + name

    return make


@pytest.fixture(scope="module")
def start_hasura(
    stack: Stack, make_database: MakeDatabase, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StartHasura]:
    """Start a stand-in before the stack's service, with other variables of Hasura."""
    with ExitStack() as cleanup:

        def start(**variables: str) -> Engine:
            folder = tmp_path_factory.mktemp("hasura")
            running = standin.running_engine(
                standin.copy_project(folder),
                make_database(),
                stack.webhook_url,
                folder / "engine.log",
                WEBHOOK_SECRET=stack.webhook_secret,
                **variables,
            )
            return cleanup.enter_context(running)

        yield start


@pytest.fixture(scope="module")
def replica_url(make_database: MakeDatabase) -> str:
    """A copy of the database that gets new rows only when a test copies them."""
    url = make_database()
    with psycopg.connect(url) as connection:
        for up in sorted((standin.REPOSITORY / "migrations/default").glob("*/up.sql")):
            connection.execute(up.read_text("utf-8").encode())
    return url


@pytest.fixture(scope="module")
def shared(start_hasura: StartHasura, replica_url: str) -> Engine:
    return start_hasura(
        HASURA_GRAPHQL_EXPERIMENTAL_FEATURES="naming_convention",
        HASURA_GRAPHQL_UNAUTHORIZED_ROLE="anonymous",
        REPLICA_URL=replica_url,
    )


@pytest.fixture
def hasura(shared: Engine) -> Iterator[Engine]:
    """A stand-in whose metadata a test may replace; they are put back."""
    before = exported(shared)
    yield shared
    put(shared, before)


def exported(hasura: Engine) -> Metadata:
    told: Metadata = hasura.metadata("export_metadata").json()
    return told


def put(hasura: Engine, metadata: Metadata) -> None:
    answer = hasura.metadata("replace_metadata", **metadata)
    assert answer.json() == {"message": "success"}


def change(hasura: Engine, alter: Callable[[Metadata, Metadata, Metadata], None]) -> None:
    """Alter the metadata: all of it, the source in it, the table in that."""
    metadata = exported(hasura)
    source = metadata["sources"][0]
    alter(metadata, source, source["tables"][0])
    put(hasura, metadata)


def settings_of(hasura: Engine, **others: str) -> dict[str, str]:
    return {
        "HASURA_GRAPHQL_ENDPOINT": str(hasura.client.base_url),
        "HASURA_GRAPHQL_ADMIN_SECRET": standin.ADMIN_SECRET,
        **others,
    }


def findings(doctor: Doctor, hasura: Engine, **others: str) -> dict[str, tuple[str, str]]:
    found = doctor.findings(**settings_of(hasura, **others))
    assert found.pop("admin secret")[0] == "fail"  # that of the stand-in's tests
    return found


def failures(doctor: Doctor, hasura: Engine, **others: str) -> dict[str, str]:
    found = findings(doctor, hasura, **others).items()
    return {check: says for check, (status, says) in found if status == "fail"}


class Door:
    """The service's HTTP door, with Hasura behind it, and S3 in memory."""

    def __init__(self, client: TestClient, store: FakeStore) -> None:
        self.store = store
        self._client = client

    def deliver(self, image_id: str, *, retry: int = 0, **members: Any) -> tuple[int, str]:
        """Deliver an insert event; return the status, and what the body says of it."""
        self.store.sources.setdefault(image_id, make_image())
        info = {"current_retry": retry, "max_retries": 5}
        body = event_body(image_id, at=MOMENT, delivery_info=info, **members)
        answer = self._client.post(EVENT_PATH, json=body)
        told = answer.json()
        return answer.status_code, told.get("code", told["status"])

    def call(self, image_id: str, **session: str) -> tuple[int, str]:
        """Call the action; return the status, and the error's code or the key."""
        self.store.sources.setdefault(image_id, make_image())
        variables = {f"x-hasura-{name.replace('_', '-')}": it for name, it in session.items()}
        answer = self._client.post(
            ACTION_PATH, json=action_body(image_id, session_variables=variables)
        )
        told = answer.json()
        return answer.status_code, told.get("key") or told["extensions"]["code"]


@contextmanager
def door_before(hasura: Engine, documents: Path = DOCUMENTS) -> Iterator[Door]:
    store, url = FakeStore(), f"{hasura.client.base_url}/v1/graphql"

    @asynccontextmanager
    async def opener() -> AsyncIterator[Service]:
        loaded = load_documents(documents)
        async with open_hasura(url, SecretStr(standin.ADMIN_SECRET), loaded) as rows:
            yield make_service(store, rows)

    app = create_app([SecretStr(SECRET)], opener, clock=lambda: MOMENT)
    with TestClient(app, headers={"x-webhook-secret": SECRET}) as client:
        yield Door(client, store)


def insert(hasura: Engine, owner: str = "alice") -> str:
    """Insert a row of which no event is made."""
    image_id = new_id()
    with psycopg.connect(hasura.database_url) as connection:
        connection.execute("SET session_replication_role = replica")
        row = (image_id, owner)
        connection.execute("INSERT INTO images (id, owner_id) VALUES (%s, %s)", row)
    return image_id


def status_of(hasura: Engine, image_id: str) -> str:
    ((status,),) = hasura.sql(f"SELECT status FROM images WHERE id = '{image_id}'")
    return str(status)


# --- names ---------------------------------------------------------------------------------------


def naming_convention(_metadata: Metadata, source: Metadata, _table: Metadata) -> None:
    source["customization"] = {"naming_convention": "graphql-default"}


def prefix(_metadata: Metadata, source: Metadata, _table: Metadata) -> None:
    source["customization"] = {"root_fields": {"prefix": "shop_", "suffix": "_v1"}}


def custom_root_fields(_metadata: Metadata, _source: Metadata, table: Metadata) -> None:
    roots = {"select": "photos", "select_by_pk": "photo", "update": "write_photos"}
    table["configuration"] = {"custom_root_fields": roots}


def custom_name(_metadata: Metadata, _source: Metadata, table: Metadata) -> None:
    table["configuration"] = {"custom_name": "photo"}


@pytest.mark.parametrize(
    ("alter", "by_pk", "many", "update", "reason"),
    [
        (naming_convention, "imagesByPk", "images", "updateImages", "naming_convention is graphql"),
        (prefix, "shop_images_by_pk_v1", "shop_images_v1", "shop_update_images_v1", "prefix shop_"),
        (custom_root_fields, "photo", "photos", "write_photos", "custom_root_fields"),
        (custom_name, "photo_by_pk", "photo", "update_photo", "custom_name"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_other_names_are_told_and_documents_with_them_work(
    doctor: Doctor,
    hasura: Engine,
    tmp_path: Path,
    alter: Callable[[Metadata, Metadata, Metadata], None],
    by_pk: str,
    many: str,
    update: str,
    reason: str,
) -> None:
    change(hasura, alter)
    told = failures(doctor, hasura)
    assert "find_image, which asks for images_by_pk; it is offered" in told["role reads"]
    assert by_pk in told["role reads"]
    assert reason in told["role reads"]
    assert "python -m webhook connect" in told["role reads"]

    roots = {"images_by_pk": by_pk, "images": many, "update_images": update}
    spell = camel if alter is naming_convention else str
    folder = write_renamed(tmp_path / "documents", roots, spell=spell)
    assert failures(doctor, hasura, GRAPHQL_DOCUMENTS=str(folder)) == {}
    image_id = insert(hasura)
    with door_before(hasura, folder) as door:
        assert door.deliver(image_id) == (200, "done")
        assert door.call(image_id, role="user", user_id="alice")[0] == 200
    assert status_of(hasura, image_id) == "done"


# --- who asks ------------------------------------------------------------------------------------


def test_an_unauthorised_role_is_told_where_it_may_call_the_action(
    doctor: Doctor, hasura: Engine
) -> None:
    status, says = findings(doctor, hasura)["no token"]
    assert (status, "HASURA_GRAPHQL_UNAUTHORIZED_ROLE" in says) == ("ok", True)

    def permit(metadata: Metadata, _source: Metadata, table: Metadata) -> None:
        metadata["actions"][0]["permissions"].append({"role": "anonymous"})
        permission = {"columns": ["id"], "filter": {"owner_id": {"_eq": "nobody"}}}
        table["select_permissions"].append({"role": "anonymous", "permission": permission})

    change(hasura, permit)
    status, says = findings(doctor, hasura)["no token"]
    assert (status, "may call removeBackground" in says) == ("weak", True)
    with door_before(hasura) as door:
        assert door.call(insert(hasura), role="anonymous") == (404, "row-not-found")
        shown = insert(hasura, "nobody")
        assert door.call(shown, role="anonymous") == (200, f"img/{shown}/trans.png")


def test_a_hasura_without_an_admin_secret_is_told(doctor: Doctor, hasura: Engine) -> None:
    secret = {"x-hasura-admin-secret": standin.ADMIN_SECRET}
    target = str(hasura.client.base_url)
    with forwarding(target, dropped=tuple(secret), added=secret) as url:
        told = failures(doctor, hasura, HASURA_GRAPHQL_ENDPOINT=url)
    assert "everybody is its administrator" in told["no token"]


def test_an_inherited_role_calls_the_action_as_its_parts_allow(
    doctor: Doctor, hasura: Engine
) -> None:
    def inherit(metadata: Metadata, _source: Metadata, table: Metadata) -> None:
        permission = {"columns": ["status"], "filter": {}}
        table["select_permissions"].append({"role": "viewer", "permission": permission})
        parts = {"role_name": "manager", "role_set": ["user", "viewer"]}
        metadata["inherited_roles"] = [parts]

    change(hasura, inherit)
    own, others = insert(hasura, "alice"), insert(hasura, "bob")
    by_id = "query($id: uuid!) { images_by_pk(id: $id) { id status } }"
    seen = hasura.data(by_id, "manager", "alice", id=others)
    assert seen == {"images_by_pk": {"id": None, "status": "pending"}}
    called = "mutation($id: uuid!) { removeBackground(id: $id) { key } }"
    told = hasura.ask(called, "manager", "alice", id=others)
    assert told["errors"][0]["extensions"] == {"code": "row-not-found"}
    with door_before(hasura) as door:
        assert door.call(own, role="manager", user_id="alice") == (200, f"img/{own}/trans.png")
        assert door.call(others, role="manager", user_id="alice") == (404, "row-not-found")
    assert findings(doctor, hasura)["inherited roles"] == ("ok", f"none contains {ROLE}")


def test_a_role_that_inherits_from_that_of_the_service_is_told(
    doctor: Doctor, hasura: Engine
) -> None:
    def inherit(metadata: Metadata, _source: Metadata, _table: Metadata) -> None:
        metadata["inherited_roles"] = [{"role_name": "boss", "role_set": ["user", ROLE]}]

    change(hasura, inherit)
    told = failures(doctor, hasura)
    assert list(told) == ["inherited roles"]
    assert f"The inherited role boss contains {ROLE}" in told["inherited roles"]


# --- the database --------------------------------------------------------------------------------


def test_a_replica_that_lags_behind_does_not_end_an_event(
    doctor: Doctor, hasura: Engine, replica_url: str
) -> None:
    def replicate(_metadata: Metadata, source: Metadata, _table: Metadata) -> None:
        replica = {"database_url": {"from_env": "REPLICA_URL"}}
        source["configuration"]["read_replicas"] = [replica]

    change(hasura, replicate)
    status, says = findings(doctor, hasura)["read replicas"]
    assert (status, "the source default from replicas" in says) == ("weak", True)
    image_id = insert(hasura)
    with door_before(hasura) as door:
        assert door.deliver(image_id) == (404, "row-not-found")
        assert door.deliver(image_id, retry=4) == (404, "row-not-found")
        assert door.call(image_id, role="user", user_id="alice") == (404, "row-not-found")
        with psycopg.connect(replica_url) as replica:
            replica.execute("INSERT INTO images (id, owner_id) VALUES (%s, 'alice')", (image_id,))
        assert door.deliver(image_id, retry=5) == (200, "done")
        assert status_of(hasura, image_id) == "done"
        assert door.deliver(new_id(), retry=5) == (200, "row-not-found")


def test_a_replica_that_lags_behind_does_not_keep_the_cutouts_of_a_deleted_row(
    hasura: Engine, replica_url: str
) -> None:
    def replicate(_metadata: Metadata, source: Metadata, _table: Metadata) -> None:
        replica = {"database_url": {"from_env": "REPLICA_URL"}}
        source["configuration"]["read_replicas"] = [replica]

    change(hasura, replicate)
    image_id = new_id()
    data = {"old": {"id": image_id}, "new": None}
    deletion: dict[str, Any] = {
        "event": event_part(op="DELETE", data=data),
        "trigger": {"name": DELETE_TRIGGER},
    }
    with psycopg.connect(replica_url, autocommit=True) as replica, door_before(hasura) as door:
        door.store.stored[f"img/{image_id}/trans.png"] = (b"png", {})
        replica.execute("INSERT INTO images (id) VALUES (%s)", (image_id,))
        assert door.deliver(image_id, **deletion) == (503, "superseded")
        replica.execute("DELETE FROM images WHERE id = %s", (image_id,))
        assert door.deliver(image_id, retry=1, **deletion) == (200, "removed")
        assert door.store.stored == {}


def test_a_sql_trigger_that_is_missing_or_disabled_is_told(doctor: Doctor, hasura: Engine) -> None:
    hasura.sql(f'ALTER TABLE images DISABLE TRIGGER "{SQL_TRIGGER}"')
    told = failures(doctor, hasura)
    assert f'ALTER TABLE "public"."images" ENABLE TRIGGER "{SQL_TRIGGER}"' in told["SQL trigger"]
    hasura.sql(f'DROP TRIGGER "{SQL_TRIGGER}" ON images')
    hasura.metadata("reload_metadata")
    told = failures(doctor, hasura)
    assert list(told) == ["SQL trigger"]
    assert f"The database lacks the trigger {SQL_TRIGGER}" in told["SQL trigger"]
    assert '"recreate_event_triggers": true' in told["SQL trigger"]
    hasura.metadata("reload_metadata", recreate_event_triggers=True)
    assert findings(doctor, hasura)["SQL trigger"] == ("ok", f"the database has {SQL_TRIGGER}")


def test_of_several_sources_only_one_may_have_the_trigger(doctor: Doctor, hasura: Engine) -> None:
    def add_source(metadata: Metadata, source: Metadata, _table: Metadata) -> None:
        other = copy.deepcopy(source) | {"name": "archive"}
        other["tables"][0].pop("event_triggers")
        metadata["sources"].append(other)

    change(hasura, add_source)
    assert failures(doctor, hasura) == {}

    def add_trigger(metadata: Metadata, _source: Metadata, table: Metadata) -> None:
        metadata["sources"][1]["tables"][0]["event_triggers"] = table["event_triggers"]

    change(hasura, add_trigger)
    told = failures(doctor, hasura)
    assert "The sources default and archive both have" in told["event trigger"]


# --- the way to Hasura ---------------------------------------------------------------------------


def test_hasura_may_lie_below_a_path(doctor: Doctor, hasura: Engine) -> None:
    with forwarding(str(hasura.client.base_url), prefix="/apis/hasura") as url:
        endpoint = f"{url}/apis/hasura/v1/graphql/"
        found = findings(doctor, hasura, HASURA_GRAPHQL_ENDPOINT=endpoint)
    assert {status for status, _ in found.values()} == {"ok"}


def test_an_endpoint_without_the_path_or_behind_a_redirect_is_told(
    doctor: Doctor, hasura: Engine
) -> None:
    target = str(hasura.client.base_url)
    with forwarding(target, prefix="/apis/hasura") as url:
        told = failures(doctor, hasura, HASURA_GRAPHQL_ENDPOINT=url)
    assert "a proxy's path included" in told["Hasura"]
    with forwarding(target, redirects=True) as url:
        told = failures(doctor, hasura, HASURA_GRAPHQL_ENDPOINT=url)
    assert f"redirects to {target}/v1/graphql" in told["Hasura"]


def test_a_metadata_api_that_is_off_is_told_and_the_action_still_tried(
    doctor: Doctor, start_hasura: StartHasura
) -> None:
    hasura = start_hasura(HASURA_GRAPHQL_ENABLED_APIS="graphql")
    found = findings(doctor, hasura)
    status, says = found["metadata"]
    assert (status, "HASURA_GRAPHQL_ENABLED_APIS" in says) == ("skip", True)
    assert not {"event trigger", "SQL trigger", "action"} & found.keys()
    assert found["action leads here"] == ("ok", "Hasura reaches the service, with its secret")


# --- the allow list ------------------------------------------------------------------------------


def test_an_allow_list_without_our_documents_is_told_and_no_row_is_called_missing(
    doctor: Doctor, start_hasura: StartHasura
) -> None:
    hasura = start_hasura(HASURA_GRAPHQL_ENABLE_ALLOWLIST="true")
    image_id = insert(hasura)
    told = failures(doctor, hasura)
    assert list(told) == ["allow list"]
    assert "find_image, find_row, list_images, record_removal, record_failure" in told["allow list"]
    with door_before(hasura) as door:
        assert door.call(image_id, role="user", user_id="alice") == (500, "writeback-rejected")
        assert door.deliver(image_id) == (500, "writeback-rejected")

    def allow(metadata: Metadata, _source: Metadata, _table: Metadata) -> None:
        names = told["allow list"].partition("not have ")[2].partition(":")[0].split(", ")
        queries = [
            {"name": name, "query": (DOCUMENTS / f"{name}.graphql").read_text("utf-8")}
            for name in names
        ]
        collection = {"name": "webhook", "definition": {"queries": queries}}
        metadata["query_collections"] = [collection]
        metadata["allowlist"] = [{"collection": "webhook", "scope": {"global": True}}]

    change(hasura, allow)
    assert failures(doctor, hasura) == {}
    with door_before(hasura) as door:
        assert door.deliver(image_id) == (200, "done")
        assert door.call(image_id, role="user", user_id="alice")[0] == 200
    assert status_of(hasura, image_id) == "done"
