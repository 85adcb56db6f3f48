"""The validator finds each kind of mistake, once, and names its place; our metadata has none."""

import shutil
from pathlib import Path

import pytest

from tests.contract.hasura_metadata.validator import validate

ROOT = Path(__file__).parents[3]
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


@pytest.fixture
def project(tmp_path: Path) -> Path:
    shutil.copy(ROOT / CONFIG, tmp_path)
    for folder in ("hasura_metadata", "migrations"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    return tmp_path


def replace(file: Path, old: str, new: str) -> None:
    """Replace the first `old`, which must be there: a mistake that was not made proves nothing."""
    content = file.read_text()
    assert old in content
    file.write_text(content.replace(old, new, 1))


def the_problem(project: Path) -> str:
    """The only problem of the project."""
    problems = [str(problem) for problem in validate(project)]
    assert len(problems) == 1, problems
    return problems[0]


def test_our_metadata_has_no_problem() -> None:
    assert validate(ROOT) == []


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
def test_a_misspelt_key_is_refused(project: Path, file: str, key: str, place: str) -> None:
    key, _, value = key.partition(":")
    replace(project / file, f"{key}:{value}", f"{key}x:{value}")

    problem = the_problem(project)

    assert problem.startswith(f"{file}: {place}: " if place else f"{file}: ")
    assert f"unknown key '{key.strip()}x'" in problem


MISTAKES = {
    # Keys that are missing, or exclude each other
    "no retry_conf": (IMAGES, f"    retry_conf:\n{NUMBERS}", "", TRIGGER, "lacks retry_conf"),
    "no num_retries": (IMAGES, "num_retries: 5\n      ", "", RETRY, "lacks num_retries"),
    "no interval_sec": (IMAGES, "      interval_sec: 10\n", "", RETRY, "lacks interval_sec"),
    "no filter": (IMAGES, "      filter: {}\n", "", SELECT, "lacks filter"),
    "no handler": (ACTIONS, HANDLER, "", ACTION, "lacks handler"),
    "no webhook": (IMAGES, WEBHOOK, "", TRIGGER, "exactly one of webhook and webhook_from_env"),
    "two webhooks": (
        IMAGES, WEBHOOK, f"{WEBHOOK}    webhook_from_env: A\n", TRIGGER, "exactly one of webhook",
    ),
    "header without a value": (
        IMAGES, f"        {SECRET}\n", "", f"{TRIGGER}.headers[0]", "exactly one of value",
    ),
    "header with two values": (
        ACTIONS, SECRET, f"{SECRET}\n          value: a", f"{ACTION}.headers[0]", "exactly one of",
    ),
    "trigger without an operation": (
        IMAGES, OPERATIONS, "      {}", f"{TRIGGER}.definition", "at least one of insert, update",
    ),
    # Values
    "other version": (VERSION, "3", "2", "version", "must be 3"),
    "version as a string": (VERSION, "3", "'3'", "version", "must be 3"),
    "other version of config.yaml": (CONFIG, "3", "2", "version", "must be 3"),
    "other kind of database": (DATABASES, "postgres", "mssql", "[0].kind", "must be 'postgres'"),
    "negative number": (IMAGES, "retries: 5", "retries: -1", f"{RETRY}.num_retries", "at least 0"),
    "number as a string": (IMAGES, "retries: 5", "retries: '5'", f"{RETRY}.num_retries", "integer"),
    "boolean as a number": (IMAGES, "retries: 5", "retries: on", f"{RETRY}.num_retries", "integer"),
    "fraction": (ACTIONS, "timeout: 120", "timeout: 2.5", f"{ACTION}.timeout", "integer"),
    "no time": (ACTIONS, "timeout: 120", "timeout: 0", f"{ACTION}.timeout", "at least 1"),
    "string as a boolean": (
        ACTIONS, "headers: false", "headers: 'no'", f"{ACTION}.forward_client_headers", "true or",
    ),
    "other kind of action": (
        ACTIONS, "kind: sync", "kind: async_", f"{ACTION}.kind", "'synchronous' or 'asynchronous'",
    ),
    "no role": (ACTIONS, "role: user", "role: ''", "actions[0].permissions[0].role", "non-empty"),
    "no list": (ACTIONS, "- role: user", "role: user", "actions[0].permissions", "must be a list"),
    "no mapping": (IMAGES, "filter: {}", "filter: []", f"{SELECT}.filter", "must be a mapping"),
    "header from Hasura's own environment": (
        ACTIONS, SECRET, "value_from_env: HASURA_GRAPHQL_ADMIN_SECRET",
        f"{ACTION}.headers[0].value_from_env", "none of HASURA_GRAPHQL_*",
    ),
    "template not closed": (IMAGES, "URL}}", "URL}", f"{TRIGGER}.webhook", "must be a URL"),
    "no trigger columns": (
        IMAGES, "'*'", "[]", f"{TRIGGER}.definition.insert.columns", "at least one column",
    ),
    "no payload columns": (
        IMAGES, "'*'", "'*'\n        payload: []", f"{TRIGGER}.definition.insert.payload",
        "at least one column",
    ),
    "trigger name that begins with a digit": (
        IMAGES, "images_remove", "1_remove", f"{TRIGGER}.name", "the first a letter",
    ),
    "trigger name of 43 characters": (
        IMAGES, "images_remove_background", "a" * 43, f"{TRIGGER}.name", "at most 42",
    ),
    # The same twice
    "key twice": (VERSION, "version: 3", "version: 3\nversion: 3", "", "'version' occurs twice"),
    "role twice": (
        IMAGES, "role: background_remover", "role: user", "select_permissions[1].role",
        "'user' occurs twice",
    ),
    # Columns that the table does not have
    "selected column": (IMAGES, "- created_at", "- kode", f"{SELECT}.columns", "'kode' is no col"),
    "inserted column": (IMAGES, "- id", "- ids", f"{INSERT}.columns", "'ids' is no column"),
    "updated column": (
        IMAGES, "columns:\n        - status\n", "columns:\n        - state\n",
        f"{UPDATE}.columns", "'state' is no column",
    ),
    "preset column": (IMAGES, "owner_id: X", "owner: X", f"{INSERT}.set", "'owner' is no column"),
    "checked column": (
        IMAGES, "owner_id:\n", "owner:\n", f"{INSERT}.check.owner", "is no column of the table",
    ),
    "filtered column": (
        IMAGES, "filter: {}", "filter: {_and: [{_not: {owner: {_eq: a}}}]}",
        f"{SELECT}.filter._and[0]._not.owner", "is no column of the table",
    ),
    "operator": (IMAGES, "_eq", "_equals", f"{INSERT}.check.owner_id", "must be a mapping of _eq"),
    "trigger column": (
        IMAGES, "'*'", "[state]", f"{TRIGGER}.definition.insert.columns", "'state' is no column",
    ),
    # Relationships
    "to another database": (
        ACTIONS, "source: default", "source: other", f"{RELATION}.source", "is no database",
    ),
    "to another table": (
        ACTIONS, "name: images", "name: photos", f"{RELATION}.remote_table",
        "public.photos is no table of the metadata",
    ),
    "from an unknown field": (
        ACTIONS, "id: id", "uuid: id", f"{RELATION}.field_mapping.uuid",
        "is no field of RemoveBackgroundOutput",
    ),
    "to an unknown column": (
        ACTIONS, "id: id", "id: image_id", f"{RELATION}.field_mapping.id",
        "'image_id' is no column of public.images",
    ),
    "with the name of a field": (
        ACTIONS, "name: image\n", "name: key\n", f"{RELATION}.name", "is already a field",
    ),
    # actions.yaml and actions.graphql
    "unknown type": (SDL, "model: String", "model: Text", "removeBackground", "type 'Text' is not"),
    "union": (SDL, "type Mutation", "union A = B\ntype Mutation", "", "a union type definition"),
    "type not in YAML": (
        SDL, "type Mutation", "scalar pixels\ntype Mutation", "pixels", "not in custom_types",
    ),
    "type not in GraphQL": (
        ACTIONS, "scalars: []", "scalars: [{name: pixels}]", f"{TYPES}.scalars",
        "'pixels' is not in actions.graphql",
    ),
    "action not in YAML": (
        SDL, "Mutation {", "Mutation {\n  restore(id: ID!): ID\n", "restore", "is not in actions",
    ),
    "action not in GraphQL": (
        ACTIONS, "custom_types:", f"{ONE_MORE_ACTION}custom_types:", "actions",
        "'restore' is not in actions.graphql",
    ),
    # Files
    "no metadata": (CONFIG, "y: h", "y: x", "metadata_directory", "no folder xasura_metadata"),
    "no migrations": (CONFIG, "y: m", "y: x", "migrations_directory", "no folder xigrations"),
    "no YAML": (ACTIONS, "actions:", "actions: {", "", "is no YAML"),
    "no GraphQL": (SDL, "type Mutation {", "type {", "", "is no GraphQL"),
    "include of no file": (TABLES, "public_images", "images", "[0]", "no file for '!include"),
    "include without its mark": (DATABASES, '"!include ', '"', "[0].tables", "must be a list"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("file", "old", "new", "place", "sentence"), MISTAKES.values(), ids=MISTAKES.keys()
)
def test_a_mistake_is_refused(
    project: Path, file: str, old: str, new: str, place: str, sentence: str
) -> None:
    replace(project / file, old, new)

    problem = the_problem(project)

    assert problem.startswith(f"{file}: {place}: " if place else f"{file}: ")
    assert sentence in problem


def test_a_trigger_name_is_unique_in_its_database(project: Path) -> None:
    file = project / IMAGES
    trigger = file.read_text().partition("event_triggers:\n")[2]
    file.write_text(file.read_text() + trigger)

    assert the_problem(project) == (
        f"{IMAGES}: event_triggers[1].name: "
        "'images_remove_background' occurs twice in this database"
    )


def test_the_include_tag_of_yaml_works_too(project: Path) -> None:
    include = "!include default/tables/tables.yaml"
    replace(project / DATABASES, f'"{include}"', include)

    assert validate(project) == []


def test_a_file_is_included_only_once(project: Path) -> None:
    replace(project / TABLES, "public_images", "tables")

    assert the_problem(project) == f"{TABLES}: is included twice"


@pytest.mark.parametrize("file", [CONFIG, VERSION, DATABASES, ACTIONS, SDL])
def test_a_missing_file_is_a_problem(project: Path, file: str) -> None:
    (project / file).unlink()

    assert the_problem(project) == f"{file}: no such file"


def test_a_file_that_nothing_reads_is_a_problem(project: Path) -> None:
    (project / "hasura_metadata/cron_trigger.yaml").write_text("[]")

    assert the_problem(project) == "hasura_metadata/cron_trigger.yaml: is read by nothing"


@pytest.mark.parametrize("name", ["create_images", "1700000000_create_images", "1700000000000"])
def test_a_migration_is_named_after_its_time(project: Path, name: str) -> None:
    (project / MIGRATION).rename(project / "migrations/default" / name)

    assert the_problem(project) == (
        f"migrations/default/{name}: must be a folder named <epoch ms>_<name>"
    )


def test_a_migration_has_an_up(project: Path) -> None:
    (project / MIGRATION / "up.sql").unlink()

    assert the_problem(project) == f"{MIGRATION}: lacks up.sql"


def test_two_migrations_have_two_versions(project: Path) -> None:
    shutil.copytree(project / MIGRATION, project / "migrations/default/1700000000000_once_more")

    assert the_problem(project) == (
        "migrations/default/1700000000000_once_more: has the version of another migration"
    )


def test_migrations_belong_to_a_database_of_the_metadata(project: Path) -> None:
    shutil.copytree(project / "migrations/default", project / "migrations/other")

    assert the_problem(project) == "migrations/other: 'other' is no database of databases.yaml"


def test_a_table_is_created_by_a_migration(project: Path) -> None:
    replace(project / MIGRATION / "up.sql", "CREATE TABLE public.images", "CREATE TABLE pictures")

    assert the_problem(project) == f"{IMAGES}: table: no migration creates public.images"


def test_a_later_migration_changes_the_columns(project: Path) -> None:
    later = project / "migrations/default/1700000000001_change"
    later.mkdir()
    (later / "up.sql").write_text(
        "ALTER TABLE public.images\n  ADD COLUMN note text,\n  DROP COLUMN error_message;\n"
    )
    replace(project / IMAGES, "- error_message", "- note")

    assert [problem.sentence for problem in validate(project)] == [
        "'error_message' is no column of the table"
    ]
