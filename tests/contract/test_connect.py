"""`connect` on a Hasura of somebody else's: what it tells, does, refuses, and takes back."""

import json
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from tests.support.fake_webhook import FakeWebhook, answering
from tests.support.shop import CAMEL, SETTINGS, SHOP, TABLE, copy_shop, files_of
from tests.support.standin_engine import ADMIN_SECRET, Engine, Project, running_engine
from webhook.commands.cli import main
from webhook.commands.connect.live import Live
from webhook.domain import RemovalResult
from webhook.hasura.client import ROLE, open_hasura
from webhook.hasura.documents import load_documents

SECOND = "shop.stickers"
INSERT = """mutation { insertShopProductPhotosOne(
  object: {photoId: 7, sellerId: "ann", fileKey: "ogs/a.jpg"}) { photoId } }"""


@pytest.fixture(scope="module")
def shop(
    fake_webhook: FakeWebhook,
    new_database: Callable[[], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp("shop")
    log = folder / "engine.log"
    with running_engine(Project(SHOP), new_database(), fake_webhook.url, log, **CAMEL) as engine:
        yield engine


def exported(engine: Engine) -> Any:
    return engine.metadata("export_metadata").json()


def columns(engine: Engine, table: str = TABLE) -> list[str]:
    found = engine.sql(
        "SELECT column_name FROM information_schema.columns"
        f" WHERE table_schema || '.' || table_name = '{table}' ORDER BY ordinal_position"
    )
    return [name for (name,) in found]


@pytest.fixture(autouse=True)
def _as_it_was(shop: Engine) -> Iterator[None]:
    before, names = exported(shop), columns(shop)
    yield
    shop.sql("TRUNCATE shop.product_photos")
    assert shop.metadata("replace_metadata", **before).status_code == 200
    for name in columns(shop):
        if name not in names:
            shop.sql(f"ALTER TABLE {TABLE} DROP COLUMN {name}")
    assert shop.metadata("reload_metadata").status_code == 200


class Connect:
    """Types the command in a folder of its own."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: str | Path, status: int = 0) -> str:
        ended = main(["connect", *map(str, arguments)])
        said = "".join(self._capsys.readouterr())
        assert ended == status, said
        return said


@pytest.fixture
def connect(
    shop: Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Connect:
    monkeypatch.chdir(tmp_path)
    for name, text in SETTINGS.items():
        monkeypatch.setenv(name, text)
    monkeypatch.setenv("HASURA_GRAPHQL_ENDPOINT", str(shop.client.base_url))
    monkeypatch.setenv("HASURA_GRAPHQL_ADMIN_SECRET", ADMIN_SECRET)
    return Connect(capsys)


async def write_a_result(engine: Engine, documents: Path) -> None:
    url = f"{engine.client.base_url}/v1/graphql"
    texts = load_documents(documents, with_list=True, with_source_key=True)
    async with open_hasura(url, SecretStr(ADMIN_SECRET), texts) as client:
        seen = await client.look("7")
        assert seen.source_key == "ogs/a.jpg"
        await client.record_done(seen, RemovalResult("7", "img/7/trans.png", "m", 4, 3, 0.5, "e"))


def test_at_first_it_only_tells(shop: Engine, connect: Connect, tmp_path: Path) -> None:
    before = exported(shop)
    said = connect("--role", "seller")
    for told in (
        "ADD COLUMN cutout_key text",
        "DROP COLUMN cutout_key",
        "sources / default / tables / shop.product_photos / event_triggers",
        "+ - name: shop_product_photos_remove_background",
        "documents/record_removal.graphql",
        "2 tables, 2 actions, 1 event trigger of yours: untouched.",
        "Nothing was changed.",
    ):
        assert told in said
    assert exported(shop) == before
    assert "cutout_key" not in columns(shop)
    assert files_of(tmp_path) == {}


async def test_a_table_is_connected_serves_and_is_taken_back(
    shop: Engine, connect: Connect, tmp_path: Path, fake_webhook: FakeWebhook
) -> None:
    before, names = exported(shop), columns(shop)
    said = connect("--role", "seller", "--apply")
    assert "To undo it: python -m webhook connect --remove --apply" in said

    fake_webhook.script("/events/images", answering({"status": "done"}))
    shop.data(INSERT)
    (event,) = fake_webhook.wait_for("/events/images", 1)
    assert event.body["trigger"]["name"] == "shop_product_photos_remove_background"
    assert event.headers["x-webhook-secret"] == "webhook-secret"
    await write_a_result(shop, tmp_path / "documents")
    row = shop.sql(f"SELECT status, cutout_key, cutout_status FROM {TABLE}")
    assert row == [("draft", "img/7/trans.png", "done")]

    answer = {"id": 7, "key": "img/7/trans.png"}
    fake_webhook.script("/actions/remove-background", answering(answer))
    query = "mutation { removeBackground(id: 7) { id key image { photoId fileKey } } }"
    assert shop.data(query, "seller", "ann")["removeBackground"] == {
        **answer,
        "image": {"photoId": 7, "fileKey": "ogs/a.jpg"},
    }

    assert "there is nothing to do" in connect("--role", "seller", "--apply")
    assert "DROP COLUMN cutout_key" in connect("--remove")
    assert "cutout_key" in columns(shop)
    connect("--remove", "--apply")
    assert exported(shop) == before
    assert columns(shop) == names
    assert [name for name in files_of(tmp_path) if "metadata-before" not in name] == []


async def test_a_project_takes_the_same_and_gives_it_back(
    shop: Engine,
    connect: Connect,
    tmp_path: Path,
    fake_webhook: FakeWebhook,
    new_database: Callable[[], str],
) -> None:
    project = copy_shop(tmp_path / "shop")
    before = files_of(project.folder)
    said = connect("--role", "seller", "--project", project.folder)
    assert "remove_background_of_product_photos/up.sql" in said
    assert "there is nothing to do" in connect("--role", "seller", "--project", project.folder)

    log = tmp_path / "engine.log"
    with running_engine(project, new_database(), fake_webhook.url, log, **CAMEL) as applied:
        fake_webhook.script("/events/images", answering({"status": "done"}))
        applied.data(INSERT)
        fake_webhook.wait_for("/events/images", 1)
        await write_a_result(applied, tmp_path / "documents")
        assert applied.sql(f"SELECT cutout_key FROM {TABLE}") == [("img/7/trans.png",)]

    connect("--remove", "--project", project.folder)
    assert files_of(project.folder) == before
    assert not (tmp_path / "documents" / "connected.json").exists()


def test_a_table_that_is_not_tracked_is_tracked(
    shop: Engine, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.sql(f"CREATE TABLE {SECOND} (id uuid PRIMARY KEY)")
    try:
        before = exported(shop)
        monkeypatch.setenv("TABLE", SECOND)
        monkeypatch.setenv("ID_COLUMN", "id")
        monkeypatch.delenv("SOURCE_KEY_COLUMN")
        monkeypatch.setenv("ACTION_NAME", "cutOutSticker")
        said = connect("--role", "boss", "--apply")
        assert "3 tables, 2 actions" in said
        assert "The role boss may not read id" in said
        assert "no table shop.product_photos" not in said
        assert [it["name"] for it in exported(shop)["custom_types"]["objects"]] == [
            "Receipt",
            "CutOutStickerOutput",
        ]
        connect("--remove", "--apply")
        assert exported(shop) == before
    finally:
        shop.sql(f"DROP TABLE {SECOND}")


def test_the_metadata_of_before_is_kept_and_brings_it_back(
    shop: Engine, connect: Connect, tmp_path: Path
) -> None:
    before = exported(shop)
    connect("--apply")
    (path,) = (tmp_path / "documents").glob("metadata-before-*.json")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert shop.post("/v1/metadata", json.loads(path.read_text())).status_code == 200
    assert exported(shop) == before
    connect("--apply")
    assert len(list((tmp_path / "documents").glob("metadata-before-*.json"))) == 2


def test_a_role_that_comes_later_is_added_and_taken_back_with_the_rest(
    shop: Engine, connect: Connect
) -> None:
    before = exported(shop)
    connect("--apply")
    said = connect("--role", "seller", "--apply")
    assert "actions / removeBackground / permissions" in said
    assert "event_triggers" not in said
    connect("--remove", "--apply")
    assert exported(shop) == before


def test_what_somebody_else_changes_meanwhile_is_not_lost(
    shop: Engine, connect: Connect, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    names, theirs = columns(shop), exported(shop)
    theirs["actions"][0]["definition"]["timeout"] = 11
    change_table = Live.change_table

    def meanwhile(live: Live, sql: str) -> None:
        change_table(live, sql)
        shop.metadata("replace_metadata", **theirs)

    monkeypatch.setattr(Live, "change_table", meanwhile)
    assert "Somebody else has changed the metadata" in connect("--apply", status=1)
    assert exported(shop) == theirs
    assert columns(shop) == names
    assert not (tmp_path / "documents" / "connected.json").exists()


def test_metadata_that_hasura_refuses_leaves_everything_as_it_was(
    shop: Engine, connect: Connect
) -> None:
    before, names = exported(shop), columns(shop)
    shop.sql("ALTER TABLE shop.customers RENAME COLUMN name TO called")
    try:
        said = connect("--apply", status=1)
        assert "column 'name' does not exist" in said
        assert exported(shop) == before
        assert columns(shop) == names
    finally:
        shop.sql("ALTER TABLE shop.customers RENAME COLUMN called TO name")


@pytest.mark.parametrize(
    ("settings", "arguments", "says"),
    [
        ({"HASURA_GRAPHQL_ADMIN_SECRET": "wrong"}, [], "correct HASURA_GRAPHQL_ADMIN_SECRET"),
        ({"TABLE": "shop.photos"}, [], "correct TABLE, or apply migrations/"),
        ({"ID_COLUMN": "seller_id"}, [], "set ID_COLUMN=photo_id"),
        ({"ACTION_NAME": "pay"}, [], "set ACTION_NAME to another name"),
        ({"ACTION_NAME": "receipt"}, ["--source", "other"], "there is default"),
        ({"HASURA_GRAPHQL_ENDPOINT": "{}/elsewhere"}, [], "HASURA_GRAPHQL_ENABLED_APIS"),
        ({"HASURA_GRAPHQL_ENDPOINT": "http://127.0.0.1:9"}, [], "can't be reached"),
        ({}, ["--project", "."], "is no project of Hasura's command line"),
    ],
)
def test_what_can_not_be_done_is_refused_and_nothing_is_changed(
    shop: Engine,
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, str],
    arguments: list[str],
    says: str,
) -> None:
    for name, text in settings.items():
        monkeypatch.setenv(name, text.format(str(shop.client.base_url).rstrip("/")))
    before = exported(shop)
    apply = ["--apply"] if "--project" not in arguments else []
    assert says in connect(*arguments, *apply, status=1)
    assert exported(shop) == before


def test_settings_that_are_wrong_are_told_as_everywhere(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TABLE", "photos")
    assert "TABLE" in connect(status=2)


def test_a_view_is_refused(shop: Engine, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.sql("CREATE VIEW shop.seen AS SELECT photo_id FROM shop.product_photos")
    try:
        monkeypatch.setenv("TABLE", "shop.seen")
        assert "is a view" in connect(status=1)
    finally:
        shop.sql("DROP VIEW shop.seen")


@pytest.mark.parametrize(
    ("kind", "permission", "says"),
    [
        ("insert_permissions", {"columns": [], "check": {}}, "may do more than ours"),
        ("select_permissions", {"columns": [], "filter": {"photo_id": {"_eq": 1}}}, "a filter"),
    ],
)
def test_another_role_of_our_name_is_refused(
    shop: Engine, connect: Connect, kind: str, permission: Any, says: str
) -> None:
    theirs = exported(shop)
    entry = theirs["sources"][0]["tables"][-1]
    entry.setdefault(kind, []).append({"role": ROLE, "permission": permission})
    assert shop.metadata("replace_metadata", **theirs).status_code == 200
    assert says in connect(status=1)


def test_documents_of_somebody_else_are_not_written_over(connect: Connect, tmp_path: Path) -> None:
    theirs = tmp_path / "documents" / "find_row.graphql"
    theirs.parent.mkdir()
    theirs.write_text("query Mine { a }")
    assert "is not what connect would write" in connect("--apply", status=1)
    assert theirs.read_text() == "query Mine { a }"


def test_a_folder_of_documents_belongs_to_one_table(
    shop: Engine, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect("--apply")
    monkeypatch.setenv("TABLE", "shop.orders")
    assert "name another folder by --documents" in connect(status=1)


def test_what_was_never_added_is_not_taken_back(shop: Engine, connect: Connect) -> None:
    before = exported(shop)
    assert "there is nothing to take back" in connect("--remove", "--apply")
    assert exported(shop) == before


async def test_where_an_allow_list_is_on_the_documents_are_in_it(
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    fake_webhook: FakeWebhook,
    new_database: Callable[[], str],
) -> None:
    log = tmp_path / "engine.log"
    listed = {**CAMEL, "HASURA_GRAPHQL_ENABLE_ALLOWLIST": "true"}
    with running_engine(Project(SHOP), new_database(), fake_webhook.url, log, **listed) as engine:
        monkeypatch.setenv("HASURA_GRAPHQL_ENDPOINT", str(engine.client.base_url))
        before = exported(engine)
        assert "allowlist" in connect("--apply")
        engine.data(INSERT)
        await write_a_result(engine, tmp_path / "documents")
        connect("--remove", "--apply")
        assert exported(engine) == before
