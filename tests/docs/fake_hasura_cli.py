"""A fake of Hasura's command line, which can't be had here: commands and flags are its own.

What it would send to Hasura it puts where the stand-in will find it at its start. As the real one
it knows a source by the metadata only, and takes metadata whose tables are not there yet.
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
    metadata.add_parser("reload").set_defaults(do=reload_metadata)
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
    databases = folder() / "metadata/databases/databases.yaml"
    known = yaml.safe_load(databases.read_text("utf-8")) if databases.exists() else []
    if options.database_name not in [database["name"] for database in known]:
        sys.exit(f'source with name "{options.database_name}" does not exist')
    source = Path(config["migrations_directory"], options.database_name)
    assert list(source.glob("*/up.sql")), f"there are no migrations for {options.database_name}"
    shutil.copytree(source, folder() / "migrations" / options.database_name)
    print(f"migrations applied at {options.endpoint}")


def apply_metadata(_options: argparse.Namespace, config: dict[str, str]) -> None:
    """Take the metadata over, in the place of all that there was."""
    shutil.rmtree(folder() / "metadata", ignore_errors=True)
    shutil.copytree(config["metadata_directory"], folder() / "metadata")
    print("Metadata applied")
    if not (folder() / "migrations").is_dir():
        print("Metadata is inconsistent: no such table/view exists in source", file=sys.stderr)


def reload_metadata(_options: argparse.Namespace, _config: dict[str, str]) -> None:
    """Look at the database again."""
    assert (folder() / "metadata").is_dir()
    print("Metadata reloaded")


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
