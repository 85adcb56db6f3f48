"""A fake of Hasura's command line, which can't be had here: commands and flags are its own.

What it would send to Hasura it puts where the stand-in, which takes metadata at its start only,
will find it: migrations first, as Hasura refuses to track a table that isn't there.
"""

import argparse
import os
import shutil
import sys
from pathlib import Path

import httpx2
import yaml


def main() -> None:
    """Do one command for the project in the current folder."""
    parser = argparse.ArgumentParser(prog="hasura")
    areas = parser.add_subparsers(required=True)
    migrate = areas.add_parser("migrate").add_subparsers(required=True).add_parser("apply")
    migrate.set_defaults(do=apply_migrations)
    metadata = areas.add_parser("metadata").add_subparsers(required=True)
    metadata.add_parser("apply").set_defaults(do=apply_metadata)
    inconsistency = metadata.add_parser("inconsistency").add_subparsers(required=True)
    inconsistency.add_parser("status").set_defaults(do=tell_inconsistency)
    for command in (migrate, *metadata.choices.values(), *inconsistency.choices.values()):
        command.add_argument("--endpoint", default=os.environ.get("HASURA_GRAPHQL_ENDPOINT"))
        command.add_argument(
            "--admin-secret", default=os.environ.get("HASURA_GRAPHQL_ADMIN_SECRET")
        )
    migrate.add_argument("--database-name", required=True)
    options = parser.parse_args()
    options.do(options, yaml.safe_load(Path("config.yaml").read_text("utf-8")))


def folder() -> Path:
    """Return what the stand-in is started from."""
    return Path(os.environ["FAKES"]) / "hasura-server"


def apply_migrations(options: argparse.Namespace, config: dict[str, str]) -> None:
    """Take the database's migrations over."""
    assert options.endpoint, "there is no endpoint"
    assert options.admin_secret, "there is no admin secret"
    source = Path(config["migrations_directory"], options.database_name)
    assert list(source.glob("*/up.sql")), f"there are no migrations for {options.database_name}"
    shutil.copytree(source, folder() / "migrations" / options.database_name)
    print(f"migrations applied at {options.endpoint}")


def apply_metadata(_options: argparse.Namespace, config: dict[str, str]) -> None:
    """Take the metadata over."""
    databases = Path(config["metadata_directory"], "databases/databases.yaml")
    for database in yaml.safe_load(databases.read_text("utf-8")):
        if not (folder() / "migrations" / database["name"]).is_dir():
            sys.exit("metadata is inconsistent: no such table/view exists in source")
    shutil.copytree(config["metadata_directory"], folder() / "metadata")
    print("Metadata applied")


def tell_inconsistency(options: argparse.Namespace, _config: dict[str, str]) -> None:
    """Ask a server; the stand-in would not run with metadata that is inconsistent."""
    answer = httpx2.post(
        f"{options.endpoint}/v1/metadata",
        json={"type": "export_metadata", "version": 2, "args": {}},
        headers={"x-hasura-admin-secret": options.admin_secret},
    )
    answer.raise_for_status()
    print("metadata is consistent")


if __name__ == "__main__":
    main()
