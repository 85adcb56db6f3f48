"""What each document must hold, and how a mistake in one is told."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from webhook.errors import ConfigurationError, RowNotFound
from webhook.hasura.documents import load_documents
from webhook.settings import DOCUMENTS

Edit = Callable[[str, str, str], None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(DOCUMENTS, tmp_path / "documents"))


@pytest.fixture
def edit(folder: Path) -> Edit:
    def edit(name: str, old: str, new: str) -> None:
        path = folder / f"{name}.graphql"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    return edit


def mistakes(folder: Path, *, with_list: bool = False, with_source_key: bool = False) -> list[str]:
    """Give the lines that tell the mistakes, without the folder."""
    with pytest.raises(ConfigurationError) as caught:
        load_documents(folder, with_list=with_list, with_source_key=with_source_key)
    title, *lines = str(caught.value).splitlines()
    assert title == "The GraphQL documents are wrong:"
    return [line.strip().removeprefix(f"{folder}/") for line in lines]


def test_the_documents_of_the_repository_are_good() -> None:
    documents = load_documents(DOCUMENTS, with_list=True)
    assert [it.title for it in (*documents.queries, *documents.mutations)] == [
        "FindImage",
        "FindRow",
        "ListImages",
        "RecordRemoval",
        "RecordFailure",
    ]


@pytest.mark.parametrize(
    ("name", "old", "new", "told"),
    [
        ("find_row", "query FindRow", "query FindRow {", "2: Syntax Error: Expected Name, found"),
        ("find_row", "query", "mutation", "2: is a mutation, not a query"),
        ("find_row", "query FindRow", "query A { a } query FindRow", "2: holds 2 operations"),
        ("find_row", "id\n", "photo_id\n", "4: `photo_id` is unknown; known: id, lock_version, c"),
        ("find_row", "    id\n", "", "3: selects no `id` in row: write `id: your_key_column`"),
        ("find_row", "row: ", "", "3: `images_by_pk` must have another alias: `row: images_by_pk`"),
        ("find_row", "  row", "  b: a\n  row", "4: `row` is too much: there must be one"),
        ("find_row", "(id: $id)", "(id: 1)", "2: Variable '$id' is never used in operation 'Find"),
        ("find_row", "$id)", "$key)", "3: Variable '$key' is not defined by operation 'FindRow'."),
        ("find_row", "    id\n", "    ...parts\n", "4: Unknown fragment 'parts'."),
        (
            "record_removal",
            "$etag: String!\n",
            "$tag: String!\n",
            "24: Variable '$etag' is not defi",
        ),
        ("record_removal", "written:", "rows:", "18: `rows` must have another alias: `row: update"),
        ("record_removal", "      id", "      a", "37: `a` is unknown; known: id"),
        ("list_images", ": uuid =", ": uuid! =", "5: $after is not always sent: it needs a defau"),
        ("list_images", ' = ["pending", "done", "failed"]', "", "7: $statuses is not always sent"),
        ("list_images", "    status\n", "", "10: selects neither `status` nor `key`: which rows"),
    ],
)
def test_a_mistake_is_told_with_its_file_and_line(
    folder: Path, edit: Edit, name: str, old: str, new: str, told: str
) -> None:
    edit(name, old, new)
    assert mistakes(folder)[0].startswith(f"{name}.graphql:{told}")


def test_a_variable_that_the_service_does_not_know_is_named(folder: Path, edit: Edit) -> None:
    edit("find_row", "$id: uuid!", "$id: uuid!, $owner: String")
    edit("find_row", "(id: $id)", "(id: $id, owner: $owner)")
    assert mistakes(folder) == ["find_row.graphql:2: $owner is unknown; known: $id"]


def test_an_error_is_no_business_of_the_result(folder: Path, edit: Edit) -> None:
    """It would be sent with each result, as null; and a failure would erase the result."""
    edit("record_removal", "$key: String!", "$key: String!, $error_code: String")
    edit("record_removal", "error_code: null", "error_code: $error_code")
    (told,) = mistakes(folder)
    assert told.startswith("record_removal.graphql:8: $error_code is unknown; known: $id, $key")


def test_every_mistake_of_every_document_is_a_line(folder: Path, edit: Edit) -> None:
    (folder / "find_image.graphql").unlink()
    (folder / "record_failure.graphql").write_bytes(b"\xff")
    edit("find_row", "row:", "image:")
    edit("list_images", "  rows:", "  images:")
    edit("list_images", '= "0', '# "0')
    assert [line.split(": ")[0] for line in mistakes(folder)] == [
        "find_image.graphql",
        "find_row.graphql:3",
        "list_images.graphql:5",
        "list_images.graphql:10",
        "record_failure.graphql",
    ]


def test_what_the_service_can_do_without_may_be_missing(folder: Path) -> None:
    (folder / "record_failure.graphql").unlink()
    (folder / "list_images.graphql").unlink()
    documents = load_documents(folder)
    assert (documents.record_failure, documents.list_images) == (None, None)
    assert mistakes(folder, with_list=True) == ["list_images.graphql: is missing"]


def test_a_version_that_nobody_reads_can_not_be_a_condition(folder: Path, edit: Edit) -> None:
    edit("find_row", "    lock_version\n", "")
    assert mistakes(folder) == [
        "record_removal.graphql:5: $lock_version: find_row selects no `lock_version`",
        "record_removal.graphql:6: $next_lock_version: find_row selects no `lock_version`",
        "record_failure.graphql:5: $lock_version: find_row selects no `lock_version`",
        "record_failure.graphql:6: $next_lock_version: find_row selects no `lock_version`",
    ]


def test_a_source_key_that_is_to_be_told_must_be_asked_for(folder: Path, edit: Edit) -> None:
    lacking = "selects no `source_key`, and SOURCE_KEY_COLUMN is set"
    assert mistakes(folder, with_source_key=True) == [
        f"find_row.graphql: {lacking}",
        f"list_images.graphql: {lacking}",
    ]
    edit("find_row", "    id\n", "    id\n    source_key: file_key\n")
    (folder / "list_images.graphql").unlink()
    documents = load_documents(folder, with_source_key=True)
    assert "source_key" in documents.find_row.selected


def test_fragments_are_looked_into(folder: Path, edit: Edit) -> None:
    edit("find_row", "    id\n", "    ...key\n    ... on images { __typename }\n")
    path = folder / "find_row.graphql"
    path.write_text(path.read_text() + "fragment key on images { id: photo_id }")
    find_row = load_documents(folder).find_row
    assert find_row.selected == {"id", "lock_version", "created_at", "__typename"}


def test_an_id_is_sent_as_the_document_declares_it(folder: Path, edit: Edit) -> None:
    assert load_documents(folder).find_row.variables({"id": "12", "key": "k"}) == {"id": "12"}
    edit("find_row", "uuid!", "Int!")
    assert load_documents(folder).find_row.variables({"id": "12"}) == {"id": 12}


@pytest.mark.parametrize("image_id", ["a", "1_000", "3000000000", "-", "9" * 128])
def test_an_id_that_is_no_number_has_no_row_where_ids_are_numbers(
    folder: Path, edit: Edit, image_id: str
) -> None:
    edit("find_row", "uuid!", "Int!")
    with pytest.raises(RowNotFound):
        load_documents(folder).find_row.variables({"id": image_id})
