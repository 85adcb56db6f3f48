"""A project's files take what is added, keep all that is theirs, and give it back."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.shop import BINDING, columns_of_photos, copy_shop, files_of, table_of_photos
from tests.support.standin_engine import REPOSITORY
from webhook.commands.connect.columns import Column, Table, choose_columns
from webhook.commands.connect.merge import merge, take_back
from webhook.commands.connect.project import Project, open_project
from webhook.commands.connect.wanted import refuse_what_is_in_the_way, wanted
from webhook.commands.doctor.examination import Trouble
from webhook.hasura.binding import USUAL_BINDING

TABLES = "hasura_metadata/databases/default/tables"
PHOTOS = f"{TABLES}/shop_product_photos.yaml"


def as_it_is(_folder: Path) -> None:
    pass


def with_the_table_untracked(folder: Path) -> None:
    (folder / PHOTOS).unlink()
    tables = folder / TABLES / "tables.yaml"
    tables.write_text(tables.read_text().replace('- "!include shop_product_photos.yaml"\n', ""))


def with_all_tables_in_one_file(folder: Path) -> None:
    (folder / "hasura_metadata/databases/databases.yaml").write_text(
        "- name: default # ours\n  kind: postgres\n  tables:\n"
        "  - {table: {schema: shop, name: orders}}\n"
        "  - table:\n      schema: shop\n      name: customers\n"
        "    # no permissions yet\n"
        "# the end"
    )


def with_a_list_of_tables(folder: Path) -> None:
    with_all_tables_in_one_file(folder)
    databases = folder / "hasura_metadata/databases/databases.yaml"
    _, _, tables = databases.read_text().partition("tables:\n")
    (folder / TABLES / "tables.yaml").write_text(tables)
    databases.write_text(
        '- {name: default, kind: postgres, tables: "!include default/tables/tables.yaml"}'
    )


def with_next_to_nothing(folder: Path) -> None:
    metadata = folder / "hasura_metadata"
    (metadata / "databases/databases.yaml").write_text("- name: default\n  tables: []\n")
    (metadata / "actions.yaml").write_text(
        "actions: []\ncustom_types:\n  enums: []\n  objects: []\n"
    )
    (metadata / "actions.graphql").write_text("")
    (metadata / "query_collections.yaml").write_text("[]\n")
    (metadata / "allow_list.yaml").write_text("[]\n")


def without_actions(folder: Path) -> None:
    (folder / "hasura_metadata/actions.yaml").unlink()
    (folder / "hasura_metadata/actions.graphql").unlink()


def with_the_line_ends_of_windows(folder: Path) -> None:
    for path in folder.rglob("*.*"):
        if path.is_file():
            path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))


def without_the_last_line_end(folder: Path) -> None:
    for path in folder.rglob("*.*"):
        if path.is_file():
            path.write_bytes(path.read_bytes().rstrip(b"\n"))


@pytest.mark.parametrize(
    "change",
    [
        as_it_is,
        with_the_table_untracked,
        with_all_tables_in_one_file,
        with_a_list_of_tables,
        with_next_to_nothing,
        without_actions,
        with_the_line_ends_of_windows,
        without_the_last_line_end,
    ],
)
def test_what_is_added_is_found_again_and_taken_back_to_the_byte(
    tmp_path: Path, change: Callable[[Path], None]
) -> None:
    folder = copy_shop(tmp_path / "shop").folder
    change(folder)
    before = files_of(folder)
    project = open_project(folder, "default")
    wishes = wanted(
        BINDING, "default", columns_of_photos(), ["seller"], {"find_row.graphql": "{ a { b } }"}
    )
    merged, added = merge(project.metadata(), wishes)
    project.add(added)
    migration = project.add_migration(table_of_photos(), {"cutout_key": "text"})
    project.save(merged)
    assert files_of(folder).keys() >= {f"migrations/default/{migration}/up.sql"}

    again = open_project(folder, "default")
    assert merge(again.metadata(), wishes) == (merged, [])
    rest, _ = take_back(merged, added)
    again.take_back(reversed(added))
    again.remove_migration(migration)
    again.save(rest)
    assert files_of(folder) == before


def lines_are_kept(before: str, after: str) -> bool:
    remaining = iter(after.splitlines())
    return all(line in remaining for line in before.splitlines())


def test_every_line_of_theirs_stays_as_it_was(tmp_path: Path) -> None:
    folder = copy_shop(tmp_path / "shop").folder
    before = files_of(folder)
    project = open_project(folder, "default")
    merged, added = merge(
        project.metadata(), wanted(BINDING, "default", columns_of_photos(), ["seller"], {})
    )
    project.add(added)
    changed = {str(path.relative_to(folder)) for path in project.save(merged)}
    assert changed == {
        "hasura_metadata/actions.graphql",
        "hasura_metadata/actions.yaml",
        PHOTOS,
    }
    for name, content in files_of(folder).items():
        assert lines_are_kept(before[name].decode(), content.decode()), name


def test_our_own_metadata_has_all_that_is_wanted_of_a_table_like_ours() -> None:
    types = {
        "id": "uuid",
        **dict.fromkeys(["status", "transparent_key", "cutout_etag", "model"], "text"),
        **dict.fromkeys(["error_code", "error_message"], "text"),
        **dict.fromkeys(["width", "height", "lock_version"], "int4"),
        **dict.fromkeys(["created_at", "processed_at"], "timestamptz"),
        **dict.fromkeys(["renditions", "subject"], "jsonb"),
        "coverage": "float4",
    }
    found = {name: Column(type_, not_null=True) for name, type_ in types.items()}
    columns = choose_columns(Table("public", "images", found, ["id"]), "id", None)
    metadata = open_project(REPOSITORY, "default").metadata()
    wishes = wanted(USUAL_BINDING, "default", columns, ["user"], {})
    refuse_what_is_in_the_way(metadata, wishes)
    assert merge(metadata, wishes) == (metadata, [])


def test_a_migration_is_newer_than_all_others(tmp_path: Path) -> None:
    folder = copy_shop(tmp_path / "shop").folder
    (folder / "migrations/default/9999999999999_far_ahead").mkdir()
    project = open_project(folder, "default")
    assert project.add_migration(table_of_photos(), {"a": "text"}).startswith("10000000000000_")


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        ("config.yaml", None, "is no project of Hasura's command line"),
        ("config.yaml", "version: 2", "is not of version 3"),
        (PHOTOS, None, "which is not there"),
        (PHOTOS, "table: [", "can't be read"),
        ("hasura_metadata/actions.graphql", "type {", "can't be read"),
        ("hasura_metadata/actions.graphql", "", "the action pay is not in actions.graphql"),
        ("hasura_metadata/databases/databases.yaml", None, "has no databases/databases.yaml"),
    ],
)
def test_a_project_that_can_not_be_read_is_refused(
    tmp_path: Path, file: str, text: str | None, says: str
) -> None:
    folder = copy_shop(tmp_path / "shop").folder
    if text is None:
        (folder / file).unlink()
    else:
        (folder / file).write_text(text)
    with pytest.raises(Trouble, match=says):
        open_project(folder, "default").metadata()


def test_files_that_are_written_in_another_way_are_left_alone(tmp_path: Path) -> None:
    folder = copy_shop(tmp_path / "shop").folder
    databases = folder / "hasura_metadata/databases/databases.yaml"
    databases.write_text(
        "- name: other\n  tables: &tables\n  - table: {schema: shop, name: orders}\n"
        "- name: default\n  tables: *tables\n"
    )
    before = files_of(folder)
    project = open_project(folder, "default")
    wishes = wanted(BINDING, "default", columns_of_photos(), [], {})
    _, added = merge(project.metadata(), wishes)
    with pytest.raises(Trouble, match="Nothing was changed"):
        project.add(added)
    assert files_of(folder) == before


def test_a_mistake_while_writing_leaves_the_project_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copy_shop(tmp_path / "shop").folder
    before = files_of(folder)
    project: Project = open_project(folder, "default")
    merged, added = merge(
        project.metadata(), wanted(BINDING, "default", columns_of_photos(), [], {})
    )
    project.add(added)
    project.add_migration(table_of_photos(), {"a": "text"})
    replace = Path.replace

    def fail_at_last(part: Path, target: Path) -> Path:
        if target.name == "down.sql":
            raise OSError(28, "No space left on device")
        return replace(part, target)

    monkeypatch.setattr(Path, "replace", fail_at_last)
    with pytest.raises(Trouble, match="No space left"):
        project.save(merged)
    assert files_of(folder) == before
