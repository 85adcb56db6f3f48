"""The names of the API: both conventions of graphql-engine, and the names that somebody chose."""

from collections.abc import Callable
from typing import Any

import pytest

from devstack.standin.models.names import Convention, TableNames
from devstack.standin.models.tables import CustomRootFields, TableConfiguration, TableName
from tests.support.fake_webhook import FakeWebhook, answering
from tests.support.standin_engine import Engine, Project, StartEngine, StartSharedEngine

CAMEL = {
    "HASURA_GRAPHQL_EXPERIMENTAL_FEATURES": "streaming_subscriptions, naming_convention",
}
PHOTOS = """CREATE SCHEMA photo_shop;
CREATE TABLE photo_shop.photos (photo_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  file_size bigint, is_public boolean NOT NULL DEFAULT false, odd_one text, "not a name" text)"""
SOURCE = "databases/databases.yaml"
GRAPHQL_DEFAULT = {"0__customization": {"naming_convention": "graphql-default"}}


def names(
    *, is_camel: bool, schema: str = "public", name: str = "author_local", **configuration: Any
) -> TableNames:
    return TableNames(
        TableName(name=name, schema=schema),
        TableConfiguration(**configuration),
        Convention(is_camel=is_camel),
    )


@pytest.mark.parametrize(
    ("kind", "snake", "camel", "chosen"),
    [
        ("select", "author_local", "authorLocal", "authorDetails"),
        ("select_by_pk", "author_local_by_pk", "authorLocalByPk", "author_detail"),
        ("select_aggregate", "author_local_aggregate", "authorLocalAggregate", None),
        ("insert", "insert_author_local", "insertAuthorLocal", "insertAuthorDetails"),
        ("insert_one", "insert_author_local_one", "insertAuthorLocalOne", "add_author"),
        ("update_by_pk", "update_author_local_by_pk", "updateAuthorLocalByPk", None),
        ("delete", "delete_author_local", "deleteAuthorLocal", "deleteAuthorDetails"),
    ],
)
def test_root_fields_are_named_by_convention_or_choice(
    kind: str, snake: str, camel: str, chosen: str | None
) -> None:
    assert names(is_camel=False).root(kind) == snake
    assert names(is_camel=True).root(kind) == camel
    roots = {"select_by_pk": "author_detail", "insert_one": {"name": "add_author"}}
    custom = names(is_camel=True, custom_name="authorDetails", custom_root_fields=roots)
    assert chosen in (None, custom.root(kind))


@pytest.mark.parametrize(
    ("suffix", "snake", "camel"),
    [
        ((), "photo_shop_photos", "PhotoShopPhotos"),
        (("set", "input"), "photo_shop_photos_set_input", "PhotoShopPhotosSetInput"),
        (("bool", "exp"), "photo_shop_photos_bool_exp", "PhotoShopPhotosBoolExp"),
    ],
)
def test_types_are_named_by_convention(suffix: tuple[str, ...], snake: str, camel: str) -> None:
    for is_camel, expected in ((False, snake), (True, camel)):
        table = names(is_camel=is_camel, schema="photo_shop", name="photos")
        assert table.type(*suffix) == expected


@pytest.mark.parametrize(
    ("convention", "by_pk", "chosen"),
    [
        (Convention(prefix="shop_", suffix="_v1"), "shop_author_local_by_pk_v1", "shop_writers_v1"),
        (Convention(True, "shop", "v1"), "shopAuthorLocalByPkV1", "shopWritersV1"),
        (Convention(True, suffix="v1"), "authorLocalByPkV1", "writersV1"),
    ],
    ids=["hasura-default", "graphql-default", "suffix alone"],
)
def test_a_source_puts_a_prefix_and_a_suffix_around_root_fields_and_not_types(
    convention: Convention, by_pk: str, chosen: str
) -> None:
    configuration = TableConfiguration(custom_root_fields=CustomRootFields(select="writers"))
    table = TableNames(TableName(name="author_local"), configuration, convention)
    assert (table.root("select_by_pk"), table.root("select")) == (by_pk, chosen)
    assert table.type() == ("AuthorLocal" if convention.is_camel else "author_local")


def test_columns_are_named_by_convention_or_choice() -> None:
    table = names(is_camel=True, column_config={"odd_one": {"custom_name": "odd_two"}})
    spelt = [table.column(name) for name in ("created_at", "_hidden_one", "odd_one", "not a name")]
    assert spelt == ["createdAt", "_hiddenOne", "odd_two", None]


@pytest.fixture(scope="module")
def engine(start_shared_engine: StartSharedEngine) -> Engine:
    """A stand-in that has graphql-default, and a table with names of somebody's choice."""

    def change(project: Project) -> None:
        project.edit(SOURCE, **GRAPHQL_DEFAULT)
        owner = {"filter": {"is_public": {"_eq": True}}, "columns": ["photo_id", "file_size"]}
        project.add_table(
            "photos",
            PHOTOS,
            schema="photo_shop",
            configuration={
                "custom_root_fields": {"delete_by_pk": "drop_photo"},
                "column_config": {"odd_one": {"custom_name": "odd_two"}},
            },
            select_permissions=[{"role": "viewer", "permission": owner}],
        )

    return start_shared_engine(change, **CAMEL)


def test_a_row_lives_and_dies_in_camel_case(engine: Engine) -> None:
    answer = engine.data(
        """mutation($row: PhotoShopPhotosInsertInput!) {
          insertPhotoShopPhotos(objects: [$row, $row]) {
            __typename affectedRows returning { photoId fileSize odd_two __typename }
          }
        }""",
        row={"fileSize": 5, "odd_two": "x"},
    )["insertPhotoShopPhotos"]
    assert answer["__typename"] == "PhotoShopPhotosMutationResponse"
    assert answer["affectedRows"] == 2
    first, second = answer["returning"]
    assert {**first, "photoId": ""} == {
        "photoId": "",
        "fileSize": 5,
        "odd_two": "x",
        "__typename": "PhotoShopPhotos",
    }
    key = first["photoId"]
    changed = engine.data(
        """mutation($id: uuid!, $set: PhotoShopPhotosSetInput!) {
          updatePhotoShopPhotosByPk(pkColumns: {photoId: $id}, _set: $set) { isPublic fileSize }
        }""",
        id=key,
        set={"isPublic": True, "fileSize": 6},
    )
    assert changed == {"updatePhotoShopPhotosByPk": {"isPublic": True, "fileSize": 6}}
    found = engine.data(
        """query($where: PhotoShopPhotosBoolExp) {
          photoShopPhotos(where: $where, orderBy: [{fileSize: DESC_NULLS_LAST}]) { fileSize }
          photoShopPhotosAggregate(where: $where) { aggregate { count } }
        }""",
        where={"odd_two": {"_isNull": False}, "photoId": {"_in": [key, second["photoId"]]}},
    )
    assert found["photoShopPhotos"] == [{"fileSize": 6}, {"fileSize": 5}]
    assert found["photoShopPhotosAggregate"] == {"aggregate": {"count": 2}}
    dropped = engine.data("mutation($id: uuid!) { drop_photo(photoId: $id) { photoId } }", id=key)
    assert dropped == {"drop_photo": {"photoId": key}}


def test_a_conflict_is_resolved_in_camel_case(engine: Engine) -> None:
    query = """mutation($row: PhotoShopPhotosInsertInput!) {
      insertPhotoShopPhotosOne(object: $row,
        onConflict: {constraint: photos_pkey, updateColumns: [fileSize]}) { fileSize }
    }"""
    row = {"photoId": "6f9619ff-8b86-d011-b42d-00cf4fc964ff", "fileSize": 1}
    for size in (1, 2):
        answer = engine.data(query, row=row | {"fileSize": size})
        assert answer == {"insertPhotoShopPhotosOne": {"fileSize": size}}
    path = "$.selectionSet.insertPhotoShopPhotosOne.args.object"
    plain = query.replace("onConflict: {constraint: photos_pkey, updateColumns: [fileSize]}", "")
    code, _, told = engine.error(plain, row=row)
    assert (code, told) == ("constraint-violation", path)


def test_permissions_keep_the_names_of_the_database(engine: Engine) -> None:
    query = "{ photoShopPhotos { photoId } }"
    assert "errors" not in engine.ask(query, "viewer")
    assert engine.error("{ photoShopPhotos { isPublic } }", "viewer")[1] == (
        "field 'isPublic' not found in type: 'PhotoShopPhotos'"
    )


def test_paths_of_errors_have_the_names_of_the_api(engine: Engine) -> None:
    query = "{ photoShopPhotos(where: {photoId: {_eq: null}}) { photoId } }"
    told = ("unexpected null value for type 'uuid'", "$.selectionSet.photoShopPhotos.args.where")
    assert engine.error(query)[1:] == (told[0], f"{told[1]}.photoId._eq")


def test_actions_keep_their_names_and_lead_to_rows(
    engine: Engine, fake_webhook: FakeWebhook
) -> None:
    image_id = "6f9619ff-8b86-d011-b42d-00cf4fc964aa"
    row = {"id": image_id, "ownerId": "alice"}
    engine.data(
        "mutation($row: ImagesInsertInput!) { insertImagesOne(object: $row) { createdAt } }",
        row=row,
    )
    answer = answering({"id": image_id, "key": "k"})
    fake_webhook.script("/actions/remove-background", answer)
    query = """mutation($id: uuid!) {
      removeBackground(id: $id) { key image { ownerId lockVersion } }
    }"""
    assert engine.data(query, id=image_id)["removeBackground"] == {
        "key": "k",
        "image": {"ownerId": "alice", "lockVersion": 0},
    }


def test_without_the_experimental_feature_the_convention_is_not_obeyed(
    project: Project, new_database: Callable[[], str], start_engine: StartEngine
) -> None:
    project.edit(SOURCE, **GRAPHQL_DEFAULT)
    assert start_engine(project, new_database()).data("{ images { created_at } }") == {"images": []}


def test_the_environment_may_tell_the_convention(
    project: Project, new_database: Callable[[], str], start_engine: StartEngine
) -> None:
    default = {"HASURA_GRAPHQL_DEFAULT_NAMING_CONVENTION": "graphql-default"}
    engine = start_engine(project, new_database(), **CAMEL, **default)
    assert engine.data("{ images { createdAt } }") == {"images": []}
