"""A Hasura of somebody else's: tests/data/shop, with a table that wants cut-outs."""

import shutil
from pathlib import Path

from tests.support.standin_engine import REPOSITORY, Project
from webhook.commands.connect.columns import Column, Columns, Table, choose_columns
from webhook.hasura.binding import Binding

SHOP = REPOSITORY / "tests" / "data" / "shop"
TABLE = "shop.product_photos"
BINDING = Binding("shop", "product_photos", "photo_id", "removeBackground")
CAMEL = {"HASURA_GRAPHQL_EXPERIMENTAL_FEATURES": "naming_convention"}
SETTINGS = {"TABLE": TABLE, "ID_COLUMN": "photo_id", "SOURCE_KEY_COLUMN": "file_key"}


def copy_shop(folder: Path) -> Project:
    shutil.copytree(SHOP, folder)
    return Project(folder)


def files_of(folder: Path) -> dict[str, bytes]:
    """Read every file below a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def table_of_photos(**more: str) -> Table:
    """The table as its migration makes it, and with further columns of these types."""
    types = {
        "photo_id": "int8",
        "seller_id": "text",
        "file_key": "text",
        "status": "text",
        "width": "int4",
        "created_at": "timestamptz",
        **more,
    }
    columns = {name: Column(type_, not_null=True) for name, type_ in types.items()}
    return Table("shop", "product_photos", columns, ["photo_id"])


def columns_of_photos() -> Columns:
    return choose_columns(table_of_photos(), "photo_id", "file_key")
