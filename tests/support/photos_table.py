"""A user's own table in the stand-in: shop.photos, with a bigint for a key and one more column."""

import re
from pathlib import Path

import yaml

from tests.support.standin_engine import REPOSITORY, Project
from webhook.hasura.client import ROLE

PAGE = REPOSITORY / "docs" / "own-table.md"
_DOCUMENT = re.compile(r"^```graphql\n(# (\w+\.graphql): .*?)^```$", re.MULTILINE | re.DOTALL)
_OWN = {"owner": {"_eq": "X-Hasura-User-Id"}}


def add_photos(project: Project) -> None:
    """Track shop.photos beside our own table."""
    migration = project.migrations / "default" / "1800000000000_create_photos"
    migration.mkdir()
    (migration / "up.sql").write_text(
        "CREATE SCHEMA shop; CREATE TABLE shop.photos"
        " (photo_id bigint PRIMARY KEY, owner text, cutout_key text)"
    )
    tables = project.metadata / "databases/default/tables"
    with (tables / "tables.yaml").open("a") as file:
        file.write('- "!include shop_photos.yaml"\n')
    read = {"columns": ["photo_id", "cutout_key"], "filter": {}}
    entry = {
        "table": {"schema": "shop", "name": "photos"},
        "select_permissions": [
            {"role": ROLE, "permission": read},
            {"role": "user", "permission": {**read, "filter": _OWN}},
        ],
        "update_permissions": [
            {"role": ROLE, "permission": {"columns": ["cutout_key"], "filter": {}, "check": {}}}
        ],
    }
    (tables / "shop_photos.yaml").write_text(yaml.safe_dump(entry))


def write_documents(folder: Path) -> Path:
    """Write the documents that the documentation shows for this table."""
    folder.mkdir(exist_ok=True)
    for text, name in _DOCUMENT.findall(PAGE.read_text("utf-8")):
        (folder / name).write_text(text)
    return folder
