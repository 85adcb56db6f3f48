"""A project with a mistake is refused, and told where it is; ours is not.

What Hasura would refuse, the stand-in does; the rest are the promises of project.py.
"""

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import httpx2
import psycopg
import pytest

from devstack.standin.errors import MetadataRefused
from devstack.standin.live import prepare
from devstack.standin.schema.build import build_role_schema
from devstack.standin.session import ADMIN, Authentication
from devstack.standin.settings import Settings
from tests.contract.hasura_metadata.project import ROOT, broken_promises, read_project
from tests.support.standin_engine import copy_project

Refusal = Callable[[Path], Awaitable[str]]

SETTINGS = Settings(Authentication("secret"))

MIGRATION = "migrations/default/1700000000000_create_images"

CONFIG = "config.yaml"
VERSION = "hasura_metadata/version.yaml"
DATABASES = "hasura_metadata/databases/databases.yaml"
TABLES = "hasura_metadata/databases/default/tables/tables.yaml"
IMAGES = "hasura_metadata/databases/default/tables/public_images.yaml"
ACTIONS = "hasura_metadata/actions.yaml"
SDL = "hasura_metadata/actions.graphql"

CONNECTION = "[0].configuration.connection_info"
INSERT = "insert_permissions[0].permission"
SELECT = "select_permissions[0].permission"
UPDATE = "update_permissions[0].permission"
TRIGGER = "event_triggers[0]"
RETRY = f"{TRIGGER}.retry_conf"
ACTION = "actions[0].definition"
TYPES = "custom_types"
RELATION = f"{TYPES}.objects[0].relationships[0]"

SECRET = "value_from_env: WEBHOOK_SECRET"
WEBHOOK = "    webhook: '{{WEBHOOK_BASE_URL}}/events/images'\n"
HANDLER = "      handler: '{{WEBHOOK_BASE_URL}}/actions/remove-background'\n"
NUMBERS = "      num_retries: 5\n      interval_sec: 10\n      timeout_sec: 180\n"
OPERATIONS = "      enable_manual: true\n      insert:\n        columns: '*'"
ONE_MORE_ACTION = "  - {name: restore, definition: {kind: synchronous, handler: 'http://a'}}\n"

# How rules that look at several files name the place.
SELECTS = "public.images: select permission of 'background_remover'"
INSERTS = "public.images: insert permission of 'user'"
UPDATES = "public.images: update permission of 'background_remover'"
RELATES = "actions.yaml: relationship 'image' of 'RemoveBackgroundOutput'"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    shutil.copy(ROOT / CONFIG, tmp_path)
    return copy_project(tmp_path).folder


@pytest.fixture(scope="session")
async def refusal(empty_database: psycopg.AsyncConnection) -> AsyncIterator[Refusal]:
    """Apply a project to an empty database and give the line that refuses it; "" if none does."""

    async def apply(root: Path) -> str:
        try:
            project = read_project(root)
            async with empty_database.transaction(force_rollback=True):
                snapshot = await prepare(
                    empty_database, project.metadata, project.migrations, SETTINGS
                )
            build_role_schema(ADMIN, snapshot.catalog, client)
        except MetadataRefused as error:
            return str(error)
        return "; ".join(broken_promises(project))

    async with httpx2.AsyncClient() as client:
        yield apply


def replace(file: Path, old: str, new: str) -> None:
    """Replace the first `old`, which must be there: a mistake that was not made proves nothing."""
    content = file.read_text()
    assert old in content
    file.write_text(content.replace(old, new, 1))


async def test_our_project_is_not_refused(refusal: Refusal) -> None:
    assert await refusal(ROOT) == ""


@pytest.mark.parametrize(
    ("file", "key", "place"),
    [
        (CONFIG, "endpoint", ""),
        (VERSION, "version", ""),
        (DATABASES, "  tables", "[0]"),
        (DATABASES, "connection_info", "[0].configuration"),
        (DATABASES, "isolation_level", CONNECTION),
        (DATABASES, "from_env", f"{CONNECTION}.database_url"),
        (IMAGES, "event_triggers", ""),
        (IMAGES, "schema", "table"),
        (IMAGES, "comment", "insert_permissions[0]"),
        (IMAGES, "set", INSERT),
        (IMAGES, "filter", SELECT),
        (IMAGES, "check: {}", UPDATE),
        (IMAGES, "webhook", TRIGGER),
        (IMAGES, "enable_manual", f"{TRIGGER}.definition"),
        (IMAGES, "columns: '*'", f"{TRIGGER}.definition.insert"),
        (IMAGES, "timeout_sec", RETRY),
        (IMAGES, "value_from_env", f"{TRIGGER}.headers[0]"),
        (ACTIONS, "custom_types", ""),
        (ACTIONS, "permissions", "actions[0]"),
        (ACTIONS, "timeout", ACTION),
        (ACTIONS, "role", "actions[0].permissions[0]"),
        (ACTIONS, "enums", TYPES),
        (ACTIONS, "relationships", f"{TYPES}.objects[0]"),
        (ACTIONS, "field_mapping", RELATION),
    ],
)
async def test_a_misspelt_key_is_refused(
    project: Path, refusal: Refusal, file: str, key: str, place: str
) -> None:
    key, _, value = key.partition(":")
    replace(project / file, f"{key}:{value}", f"{key}x:{value}")

    told = f"{file}: {place}: " if place else f"{file}: "
    assert f"{told}unknown key '{key.strip()}x'" in await refusal(project)


MISTAKES = {
    # Keys that are missing, have no value, or exclude each other
    "no retry_conf": (IMAGES, f"    retry_conf:\n{NUMBERS}", "", f"{RETRY}: Field required"),
    "no num_retries": (
        IMAGES, "num_retries: 5\n      ", "", f"{RETRY}.num_retries: Field required",
    ),
    "no interval_sec": (
        IMAGES, "      interval_sec: 10\n", "", f"{RETRY}.interval_sec: Field required",
    ),
    "no filter": (IMAGES, "      filter: {}\n", "", f"{SELECT}.filter: Field required"),
    "no handler": (ACTIONS, HANDLER, "", f"{ACTION}.handler: Field required"),
    "no value": (IMAGES, "columns: '*'", "columns:", f"{TRIGGER}.definition.insert: 'columns' has"),
    "no webhook": (IMAGES, WEBHOOK, "", f"{TRIGGER}: exactly one of webhook, webhook_from_env"),
    "two webhooks": (
        IMAGES, WEBHOOK, f"{WEBHOOK}    webhook_from_env: WEBHOOK_BASE_URL\n",
        f"{TRIGGER}: exactly one of webhook",
    ),
    "header without a value": (
        IMAGES, f"        {SECRET}\n", "", f"{TRIGGER}.headers[0]: exactly one of value",
    ),
    "header with two values": (
        ACTIONS, SECRET, f"{SECRET}\n          value: a", f"{ACTION}.headers[0]: exactly one of",
    ),
    "trigger without an operation": (
        IMAGES, OPERATIONS, "      {}", f"{TRIGGER}.definition: an event trigger needs an oper",
    ),
    # Values
    "other version": (VERSION, "3", "2", "version: Input should be greater than or equal to 3"),
    "version as a string": (VERSION, "3", "'3'", "version: Input should be a valid integer"),
    "version as a fraction": (VERSION, "3", "3.0", "version: Input should be a valid integer"),
    "other version of config.yaml": (CONFIG, "3", "4", "version: Input should be less than or"),
    "other kind of database": (DATABASES, "postgres", "mssql", "[0].kind: Input should be"),
    "negative number": (
        IMAGES, "retries: 5", "retries: -1",
        f"{RETRY}.num_retries: Input should be greater than or equal to 0",
    ),
    "number as a string": (
        IMAGES, "retries: 5", "retries: '5'", f"{RETRY}.num_retries: Input should be a valid integ",
    ),
    "boolean as a number": (
        IMAGES, "retries: 5", "retries: on", f"{RETRY}.num_retries: Input should be a valid integ",
    ),
    "fraction": (
        ACTIONS, "timeout: 120", "timeout: 2.5", f"{ACTION}.timeout: Input should be a valid integ",
    ),
    "no time": (
        ACTIONS, "timeout: 120", "timeout: 0", f"{ACTION}.timeout: Input should be greater than 0",
    ),
    "string as a boolean": (
        IMAGES, "manual: true", "manual: 'yes'",
        f"{TRIGGER}.definition.enable_manual: Input should be a valid boolean",
    ),
    "number as a boolean": (
        ACTIONS, "headers: false", "headers: 0",
        f"{ACTION}.forward_client_headers: Input should be a valid boolean",
    ),
    "headers of the client": (
        ACTIONS, "headers: false", "headers: true",
        f"{ACTION}.forward_client_headers: is not covered",
    ),
    "other kind of action": (
        ACTIONS, "kind: sync", "kind: async_", f"{ACTION}.kind: Input should be 'synchronous'",
    ),
    "no role": (ACTIONS, "role: user", "role: ''", "actions[0].permissions[0].role: String should"),
    "no list": (ACTIONS, "- role: user", "role: user", "actions[0].permissions: Input should be"),
    "no mapping": (IMAGES, "filter: {}", "filter: []", f"{SELECT}.filter: Input should be a valid"),
    "header from Hasura's own environment": (
        ACTIONS, SECRET, "value_from_env: HASURA_GRAPHQL_ADMIN_SECRET",
        f"{ACTION}.headers[0].value_from_env: 'HASURA_GRAPHQL_ADMIN_SECRET': HASURA_GRAPHQL_ is re",
    ),
    "header from no variable": (
        ACTIONS, SECRET, "value_from_env: NOT_SET",
        f"{ACTION}.headers[0].value_from_env: environment variable 'NOT_SET' is not set",
    ),
    "name of a header": (IMAGES, "x-web", "x web", f"{TRIGGER}.headers[0].name: String should"),
    "template of no variable": (
        IMAGES, "WEBHOOK_BASE_URL", "NOT_SET",
        f"{TRIGGER}.webhook: environment variable 'NOT_SET' is not set",
    ),
    "template not closed": (IMAGES, "URL}}", "URL}", f"{TRIGGER}.webhook: a template is the name"),
    "address without a scheme": (
        ACTIONS, "{{WEBHOOK_BASE_URL}}", "webhook", f"{ACTION}.handler: 'webhook/actions/remove-b",
    ),
    "no trigger columns": (
        IMAGES, "'*'", "[]", f"{TRIGGER}.definition.insert.columns: Tuple should have at least 1",
    ),
    "no payload columns": (
        IMAGES, "'*'", "'*'\n        payload: []",
        f"{TRIGGER}.definition.insert.payload: Tuple should have at least 1 item",
    ),
    "trigger name that begins with a digit": (
        IMAGES, "images_remove", "1_remove", f"{TRIGGER}.name: String should match pattern",
    ),
    "trigger name of 43 characters": (
        IMAGES, "images_remove_background", "a" * 43, f"{TRIGGER}.name: String should have at most",
    ),
    # The same twice
    "key twice": (VERSION, "version: 3", "version: 3\nversion: 3", "'version' occurs twice"),
    "role twice": (
        IMAGES, "role: background_remover", "role: user",
        "select_permissions: role 'user' occurs twice",
    ),
    "action twice": (
        ACTIONS, "custom_types:", f"{ONE_MORE_ACTION * 2}custom_types:",
        "actions: name 'restore' occurs twice",
    ),
    # Files
    "no metadata": (CONFIG, "y: h", "y: x", "metadata_directory: no folder xasura_metadata"),
    "no migrations": (CONFIG, "y: m", "y: x", "migrations_directory: no folder xigrations"),
    "no YAML": (ACTIONS, "actions:", "actions: {", "while parsing a flow"),
    "include of no file": (TABLES, "public_images", "images", "[0]: "),
    "include without its mark": (DATABASES, '"!include ', '"', "[0].tables: Input should be a va"),
}  # fmt: skip


@pytest.mark.parametrize(("file", "old", "new", "told"), MISTAKES.values(), ids=MISTAKES.keys())
async def test_a_mistake_in_a_file_is_refused(
    project: Path, refusal: Refusal, file: str, old: str, new: str, told: str
) -> None:
    replace(project / file, old, new)

    line = await refusal(project)

    assert f"{file}: {told}" in line
    assert "\n" not in line


DISAGREEMENTS = {
    # Columns that the table does not have
    "selected column": (IMAGES, "- created_at", "- kode", f"{SELECTS}: column 'kode' does not"),
    "inserted column": (IMAGES, "- id", "- ids", f"{INSERTS}: column 'ids' does not exist"),
    "updated column": (
        IMAGES, "columns:\n        - status\n", "columns:\n        - state\n",
        f"{UPDATES}: column 'state' does not exist",
    ),
    "preset column": (IMAGES, "owner_id: X", "owner: X", f"{INSERTS}: column 'owner' does not"),
    "checked column": (IMAGES, "owner_id:\n", "owner:\n", f"{INSERTS}: column 'owner' does not"),
    "filtered column": (
        IMAGES, "filter: {}", "filter: {_and: [{_not: {owner: {_eq: a}}}]}",
        f"{SELECTS}: column 'owner' does not exist",
    ),
    "operator": (IMAGES, "_eq", "_equals", f"{INSERTS}: the stand-in can't compare 'owner_id'"),
    "no condition": (IMAGES, "filter: {}", "filter: {_or: [a]}", f"{SELECTS}: 'a' is no condition"),
    "trigger column": (
        IMAGES, "'*'", "[state]",
        "public.images: event trigger 'images_remove_background': column 'state' does not exist",
    ),
    # Relationships
    "to another database": (ACTIONS, "source: default", "source: other", f"{RELATES}: no source"),
    "to another table": (
        ACTIONS, "name: images", "name: photos", f"{RELATES}: public.photos is not tracked",
    ),
    "from an unknown field": (ACTIONS, "id: id", "uuid: id", f"{RELATES}: the type has no field"),
    "to an unknown column": (
        ACTIONS, "id: id", "id: image_id", f"{RELATES}: public.images has no column 'image_id'",
    ),
    "with the name of a field": (
        ACTIONS, "name: image\n", "name: key\n",
        "actions.yaml: relationship 'key' of 'RemoveBackgroundOutput': is a field of the type",
    ),
    # What Hasura would fill in
    "no kind": (
        ACTIONS, "      kind: synchronous\n", "",
        "actions.yaml: action 'removeBackground': lacks kind",
    ),
    "no schema": (
        IMAGES, "  schema: public\n", "", "public.images: lacks the schema of its table",
    ),
    "no schema of a relationship": (
        ACTIONS, "            schema: public\n", "", "actions.yaml: 'image': lacks the schema",
    ),
    # actions.yaml and actions.graphql
    "no GraphQL": (SDL, "type Mutation {", "type {", "actions.graphql: Syntax Error"),
    "unknown type": (
        SDL, "model: String", "model: Text",
        "actions.graphql: removeBackground: the type 'Text' is not",
    ),
    "union": (
        SDL, "type Mutation", "union A = B\ntype Mutation", "actions.graphql: unexpected union typ",
    ),
    "type not in YAML": (
        SDL, "type Mutation", "scalar pixels\ntype Mutation",
        "actions.graphql: pixels: is not in custom_types.scalars of actions.yaml",
    ),
    "type not in GraphQL": (
        ACTIONS, "scalars: []", "scalars: [{name: pixels}]",
        "actions.yaml: custom_types.scalars: 'pixels' is not present in actions.graphql",
    ),
    "type of another kind": (
        ACTIONS, "enums: []", "enums: [{name: RemoveBackgroundOutput}]",
        "actions.yaml: custom_types.enums: 'RemoveBackgroundOutput' is not present",
    ),
    "type twice": (
        SDL, "type Mutation", "scalar a\nscalar a\ntype Mutation",
        "actions.graphql: 'a' is defined twice",
    ),
    "action not in YAML": (
        SDL, "Mutation {", "Mutation {\n  restore(id: ID!): ID\n",
        "actions.graphql: restore: is not in actions of actions.yaml",
    ),
    "action not in GraphQL": (
        ACTIONS, "custom_types:", f"{ONE_MORE_ACTION}custom_types:",
        "actions.yaml: action 'restore' is not present in actions.graphql",
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("file", "old", "new", "told"), DISAGREEMENTS.values(), ids=DISAGREEMENTS.keys()
)
async def test_what_does_not_fit_together_is_refused(
    project: Path, refusal: Refusal, file: str, old: str, new: str, told: str
) -> None:
    replace(project / file, old, new)

    line = await refusal(project)

    assert told in line
    assert "\n" not in line


async def test_a_trigger_name_is_unique_in_its_database(project: Path, refusal: Refusal) -> None:
    file = project / IMAGES
    trigger = file.read_text().partition("event_triggers:\n")[2]
    file.write_text(file.read_text() + trigger)

    told = f"{IMAGES}: event_triggers: name 'images_remove_background' occurs twice"
    assert told in await refusal(project)


async def test_two_tables_have_no_trigger_of_one_name(project: Path, refusal: Refusal) -> None:
    copy = (project / IMAGES).read_text().replace("name: images\n", "name: pictures\n", 1)
    (project / IMAGES).with_name("public_pictures.yaml").write_text(copy)
    with (project / TABLES).open("a") as file:
        file.write('- "!include public_pictures.yaml"\n')

    told = "databases.yaml: event trigger 'images_remove_background' is defined 2 times"
    assert told in await refusal(project)


async def test_the_include_tag_of_yaml_works_too(project: Path, refusal: Refusal) -> None:
    include = "!include default/tables/tables.yaml"
    replace(project / DATABASES, f'"{include}"', include)

    assert await refusal(project) == ""


@pytest.mark.parametrize("name", ["tables", "../tables/tables"])
async def test_a_file_is_included_only_once(project: Path, refusal: Refusal, name: str) -> None:
    replace(project / TABLES, "public_images", name)

    assert f"{TABLES}: is included twice" in await refusal(project)


@pytest.mark.parametrize("file", [CONFIG, VERSION, DATABASES, ACTIONS, SDL])
async def test_a_missing_file_is_refused(project: Path, refusal: Refusal, file: str) -> None:
    (project / file).unlink()

    assert f"{file}: No such file" in await refusal(project)


async def test_a_file_that_nothing_reads_is_refused(project: Path, refusal: Refusal) -> None:
    (project / "hasura_metadata/cron_trigger.yaml").write_text("[]")

    assert await refusal(project) == "hasura_metadata/cron_trigger.yaml: is read by nothing"


@pytest.mark.parametrize("name", ["create_images", "1700000000_create_images", "1700000000000"])
async def test_a_migration_is_named_after_its_time(
    project: Path, refusal: Refusal, name: str
) -> None:
    (project / MIGRATION).rename(project / "migrations/default" / name)

    assert f"migration {name}: must be " in await refusal(project)


async def test_a_migration_has_an_up(project: Path, refusal: Refusal) -> None:
    (project / MIGRATION / "up.sql").unlink()

    assert await refusal(project) == "migration 1700000000000_create_images: lacks up.sql"


async def test_two_migrations_have_two_versions(project: Path, refusal: Refusal) -> None:
    shutil.copytree(project / MIGRATION, project / "migrations/default/1700000000000_once_more")

    told = "migration 1700000000000_once_more: has the version of another"
    assert await refusal(project) == told


async def test_migrations_belong_to_a_database_of_the_metadata(
    project: Path, refusal: Refusal
) -> None:
    shutil.copytree(project / "migrations/default", project / "migrations/other")

    assert await refusal(project) == "migrations: 'other' is no database of databases.yaml"


async def test_a_table_is_created_by_a_migration(project: Path, refusal: Refusal) -> None:
    for migration in (project / MIGRATION).parent.iterdir():
        (migration / "up.sql").write_text(f"CREATE TABLE pictures_{migration.name} ();")

    assert await refusal(project) == "table 'public.images' does not exist"


async def test_a_later_migration_changes_the_columns(project: Path, refusal: Refusal) -> None:
    later = project / "migrations/default/1700000000001_change"
    later.mkdir()
    (later / "up.sql").write_text(
        "ALTER TABLE public.images\n  ADD COLUMN note text,\n  DROP COLUMN error_message;\n"
    )
    replace(project / IMAGES, "- error_message", "- note")

    assert await refusal(project) == f"{UPDATES}: column 'error_message' does not exist"
