"""Refuses what Hasura or its CLI would refuse of our metadata, without either.

Files are read in project.py, each file's shape is in schema.py, and what must agree between files
in tables.py and actions.py.
"""

from collections.abc import Iterator
from pathlib import Path

from tests.contract.hasura_metadata.actions import action_complaints
from tests.contract.hasura_metadata.columns import columns_after
from tests.contract.hasura_metadata.project import Problem, Project, read_project, stray_files
from tests.contract.hasura_metadata.schema import ACTIONS, DATABASES, VERSION
from tests.contract.hasura_metadata.shapes import Complaint, record
from tests.contract.hasura_metadata.tables import Tracked, table_complaints, table_of

_TREE = record({"version": VERSION, "databases": DATABASES, "actions": ACTIONS})


def validate(root: Path) -> list[Problem]:
    """Everything wrong with the Hasura project in `root`; empty when all is right.

    In steps, each only if the one before found nothing: files, shapes, references, strays. So
    one mistake does not show as many.
    """
    project = read_project(root)
    if project.problems:
        return project.problems
    complaints = list(_TREE(project.tree, ())) or list(_references(project))
    problems = [Problem(project.place(at), sentence) for at, sentence in complaints]
    return problems or list(stray_files(project))


def _references(project: Project) -> Iterator[Complaint]:
    databases: dict[str, Tracked] = {}
    for index, database in enumerate(project.tree["databases"]):
        name = database["name"]
        columns = columns_after(project.migrations.get(name, ()))
        tables = [table_of(entry["table"]) for entry in database["tables"]]
        databases[name] = {table: columns.get(table) for table in tables}
        yield from table_complaints(database, databases[name], ("databases", index))
    for name in project.migrations.keys() - databases.keys():
        yield ("migrations", name), f"{name!r} is no database of databases.yaml"
    yield from action_complaints(project.tree["actions"], project.actions_sdl, databases)
