"""Names of triggers: as today for our own table, of any table never longer than Hasura takes."""

import pytest

from webhook.hasura.binding import Binding


@pytest.mark.parametrize(
    ("schema", "table", "trigger", "delete_trigger"),
    [
        ("public", "images", "images_remove_background", "images_remove_cutouts"),
        ("public", "photos", "photos_remove_background", "photos_remove_cutouts"),
        ("shop", "photos", "shop_photos_remove_background", "shop_photos_remove_cutouts"),
    ],
)
def test_a_trigger_is_named_after_its_table(
    schema: str, table: str, trigger: str, delete_trigger: str
) -> None:
    binding = Binding(schema, table)
    assert (binding.trigger, binding.delete_trigger) == (trigger, delete_trigger)


def test_names_of_long_tables_stay_within_hasuras_limit_and_apart() -> None:
    tables = ["a" * 63, "a" * 62 + "b", "product_photos_of_all_our_shops"]
    bindings = [Binding(schema, table) for schema in ("public", "shop") for table in tables]
    names = [name for it in bindings for name in (it.trigger, it.delete_trigger)]
    assert len(set(names)) == len(names)
    assert all(len(name) <= 42 for name in names)
