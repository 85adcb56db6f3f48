"""The documents for any table are what the service takes, and name nothing of the table's own."""

from pathlib import Path

import pytest

from tests.support.shop import columns_of_photos, table_of_photos
from webhook.commands.connect.columns import choose_columns, down_sql, up_sql
from webhook.commands.connect.documents import write_documents, written_columns
from webhook.commands.connect.names import Names
from webhook.commands.doctor.examination import Trouble
from webhook.hasura.documents import Documents, load_documents

ROOTS = {"custom_root_fields": {"select_by_pk": {"name": "onePhoto"}, "update": "changePhotos"}}


def loaded(folder: Path, names: Names) -> Documents:
    for name, text in write_documents(columns_of_photos(), names).items():
        (folder / name).write_text(text)
    return load_documents(folder, with_list=True, with_source_key=True)


@pytest.mark.parametrize(
    ("names", "roots"),
    [
        (
            Names("shop", "product_photos"),
            ["shop_product_photos_by_pk", "shop_product_photos", "update_shop_product_photos"],
        ),
        (
            Names("shop", "product_photos", is_camel=True),
            ["shopProductPhotosByPk", "shopProductPhotos", "updateShopProductPhotos"],
        ),
        (
            Names("public", "product_photos", is_camel=True, configuration={"custom_name": "Pic"}),
            ["PicByPk", "Pic", "updatePic"],
        ),
        (
            Names("shop", "photos", configuration=ROOTS, prefix="s_", suffix="_v1"),
            ["s_onePhoto_v1", "s_shop_photos_v1", "s_changePhotos_v1"],
        ),
        (
            Names("public", "photos", is_camel=True, prefix="shop", suffix="now"),
            ["shopPhotosByPkNow", "shopPhotosNow", "shopUpdatePhotosNow"],
        ),
    ],
    ids=[
        "hasura-default",
        "graphql-default",
        "a name of choice",
        "root fields of choice",
        "around",
    ],
)
def test_root_fields_have_the_names_that_hasura_gives_them(
    tmp_path: Path, names: Names, roots: list[str]
) -> None:
    documents = loaded(tmp_path, names)
    assert documents.list_images is not None
    asked = [documents.find_row, documents.list_images, documents.record_removal]
    assert [it.root.name.value for it in asked] == roots


def test_columns_have_the_names_that_hasura_gives_them(tmp_path: Path) -> None:
    chosen = {"column_config": {"cutout_key": {"custom_name": "cutout"}}}
    documents = loaded(tmp_path, Names("shop", "product_photos", True, configuration=chosen))
    written = documents.record_removal.columns["_set"]
    assert {"cutout", "cutoutEtag", "cutoutLockVersion"} <= written
    assert documents.find_row.types == {"id": "bigint"}


def test_everything_that_the_service_knows_of_a_row_is_read_and_written(tmp_path: Path) -> None:
    documents = loaded(tmp_path, Names("shop", "product_photos"))
    assert documents.find_row.selected == {"id", "lock_version", "created_at", "source_key"}
    assert documents.list_images is not None
    assert documents.list_images.selected == {"id", "status", "cutout_etag", "source_key"}
    assert {
        "key",
        "etag",
        "lock_version",
        "next_lock_version",
    } <= documents.record_removal.types.keys()
    assert documents.record_failure is not None
    assert {"error_code", "error_message"} <= documents.record_failure.types.keys()


def test_columns_of_the_same_names_that_mean_something_else_are_not_written() -> None:
    columns = columns_of_photos()
    assert not {"status", "width"} & set(written_columns(columns))
    assert list(columns.missing) == written_columns(columns)


def test_the_columns_of_our_own_migrations_are_used_where_all_of_them_are_there() -> None:
    ours = {
        **dict.fromkeys(["transparent_key", "cutout_etag", "model"], "text"),
        **dict.fromkeys(["error_code", "error_message"], "text"),
        **dict.fromkeys(["height", "lock_version"], "int4"),
        **dict.fromkeys(["renditions", "subject"], "jsonb"),
        **{"coverage": "float4", "processed_at": "timestamptz"},
    }
    columns = choose_columns(table_of_photos(**ours), "photo_id", None)
    assert columns.missing == {}
    assert columns.values["key"] == ("transparent_key", "text")


def test_columns_that_are_there_already_are_used_by_their_types() -> None:
    table = table_of_photos(cutout_key="varchar", cutout_coverage="numeric")
    columns = choose_columns(table, "photo_id", None)
    assert not {"cutout_key", "cutout_coverage"} & columns.missing.keys()
    text = write_documents(columns, Names("shop", "product_photos"))["record_removal.graphql"]
    assert "$coverage: numeric!" in text
    assert "$subject: jsonb\n" in text  # it may be null


def test_names_that_sql_would_misread_are_quoted() -> None:
    table = table_of_photos()
    assert up_sql(table, {"cutout_key": "text"}) == (
        "ALTER TABLE shop.product_photos\n  ADD COLUMN cutout_key text;\n"
    )
    assert 'DROP COLUMN "Key""s"' in down_sql(table, ['Key"s'])


@pytest.mark.parametrize(
    ("id_column", "source_key", "more", "says"),
    [
        ("id", None, {}, "has no column id: correct ID_COLUMN"),
        ("seller_id", None, {}, "set ID_COLUMN=photo_id"),
        ("photo_id", "s3_key", {}, "has no column s3_key: correct SOURCE_KEY_COLUMN"),
        ("photo_id", None, {"photo_id": "numeric"}, "must be uuid, bigint, integer or text"),
        ("photo_id", None, {"cutout_key": "jsonb"}, "has a column cutout_key already"),
    ],
)
def test_a_table_that_can_not_serve_is_refused(
    id_column: str, source_key: str | None, more: dict[str, str], says: str
) -> None:
    with pytest.raises(Trouble, match=says):
        choose_columns(table_of_photos(**more), id_column, source_key)
