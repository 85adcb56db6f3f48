"""Reads config.yaml and the folders that it names, as the Hasura CLI does, into one tree.

Files only: what they may say is in schema.py and validator.py.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from graphql import DocumentNode, GraphQLSyntaxError, parse

from tests.contract.hasura_metadata.schema import CONFIG
from tests.contract.hasura_metadata.shapes import Keys

_INCLUDE = "!include"
_MIGRATION_FOLDER = re.compile(r"(?P<epoch_ms>\d{13})_[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: a file and the keys inside it, and a sentence."""

    place: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.place}: {self.sentence}"


@dataclass
class Project:
    """What was read. The rest is whole only if `problems` is empty.

    `tree` holds `version`, `databases` and `actions` with every include resolved; `files` says in
    which file the value under which keys stands; `migrations` holds each database's up.sql texts.
    """

    root: Path
    metadata: Path = field(default_factory=Path)
    tree: dict[str, Any] = field(default_factory=dict)
    files: dict[Keys, str] = field(default_factory=dict)
    actions_sdl: DocumentNode = field(default_factory=lambda: DocumentNode(definitions=()))
    migrations: dict[str, list[str]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def place(self, keys: Keys) -> str:
        """Where a reader finds these keys, such as `config.yaml: actions.kind`."""
        split = max(n for n in range(len(keys) + 1) if keys[:n] in self.files)
        inner = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys[split:])
        return f"{self.files[keys[:split]]}: {inner.lstrip('.')}".removesuffix(": ")

    def complain(self, file: Path, sentence: str) -> None:
        """Add a problem with a file or folder."""
        self.problems.append(Problem(str(file.relative_to(self.root)), sentence))


def read_project(root: Path) -> Project:
    """Read the project in `root`; what can't be read or is misplaced is in its `problems`."""
    project = Project(root)
    config = _read_yaml(project, root / "config.yaml", ("config",))
    if not project.problems:
        project.problems += [
            Problem(project.place(at), why) for at, why in CONFIG(config, ("config",))
        ]
    if not project.problems:
        for key, default, read in (
            ("metadata_directory", "metadata", _read_metadata),
            ("migrations_directory", "migrations", _read_migrations),
        ):
            folder = root / config.get(key, default)
            if folder.is_dir():
                read(project, folder)
            else:
                project.problems.append(Problem(f"config.yaml: {key}", f"no folder {folder.name}"))
    return project


def stray_files(project: Project) -> Iterator[Problem]:
    """Metadata files that nothing reads: the CLI skips what it doesn't know, unseen."""
    known = set(project.files.values())
    for file in sorted(project.metadata.rglob("*")):
        name = str(file.relative_to(project.root))
        if file.is_file() and name not in known:
            yield Problem(name, "is read by nothing")


def _read_metadata(project: Project, folder: Path) -> None:
    project.metadata = folder
    for key, path in {
        "version": "version.yaml",
        "databases": "databases/databases.yaml",
        "actions": "actions.yaml",
    }.items():
        project.tree[key] = _read_yaml(project, folder / path, (key,))
    sdl = folder / "actions.graphql"
    project.files["sdl",] = str(sdl.relative_to(project.root))
    try:
        project.actions_sdl = parse(sdl.read_text())
    except FileNotFoundError:
        project.complain(sdl, "no such file")
    except GraphQLSyntaxError as error:
        project.complain(sdl, f"is no GraphQL: {error.message}")


def _read_migrations(project: Project, folder: Path) -> None:
    """Each database's migrations in the order of their versions: <epoch ms>_<name>/up.sql."""
    for database in sorted(path for path in folder.iterdir() if path.is_dir()):
        texts = project.migrations.setdefault(database.name, [])
        project.files["migrations", database.name] = str(database.relative_to(project.root))
        versions: set[str] = set()
        for migration in sorted(database.iterdir()):
            name = _MIGRATION_FOLDER.fullmatch(migration.name)
            if name is None:
                project.complain(migration, "must be a folder named <epoch ms>_<name>")
            elif name["epoch_ms"] in versions:
                project.complain(migration, "has the version of another migration")
            elif not (migration / "up.sql").is_file():
                project.complain(migration, "lacks up.sql")
            else:
                versions.add(name["epoch_ms"])
                texts.append((migration / "up.sql").read_text())


class _Loader(yaml.SafeLoader):
    """YAML as the CLI reads it: includes in both spellings, no key twice."""


def _include_tag(loader: _Loader, node: yaml.ScalarNode) -> str:
    return f"{_INCLUDE} {loader.construct_scalar(node)}"


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    keys = [loader.construct_object(key) for key, _ in node.value]
    for index, key in enumerate(keys):
        if key in keys[:index]:
            raise yaml.MarkedYAMLError(
                problem=f"{key!r} occurs twice", problem_mark=node.value[index][0].start_mark
            )
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor(_INCLUDE, _include_tag)
_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def _read_yaml(project: Project, file: Path, keys: Keys) -> Any:
    name = str(file.relative_to(project.root))
    if name in project.files.values():
        project.complain(file, "is included twice")  # perhaps by itself
        return None
    project.files[keys] = name
    try:
        value = yaml.load(file.read_text(), _Loader)
    except FileNotFoundError:
        project.complain(file, "no such file")
        return None
    except yaml.YAMLError as error:
        project.complain(file, f"is no YAML: {' '.join(str(error).split())}")
        return None
    return _resolve_includes(project, value, file.parent, keys)


def _resolve_includes(project: Project, value: Any, folder: Path, keys: Keys) -> Any:
    match value:
        case str() if _INCLUDE in value:
            file = folder / value.partition(_INCLUDE)[2].strip()
            if file.is_file():
                return _read_yaml(project, file, keys)
            project.problems.append(Problem(project.place(keys), f"no file for {value!r}"))
            return None
        case list():
            return [
                _resolve_includes(project, item, folder, (*keys, index))
                for index, item in enumerate(value)
            ]
        case dict():
            return {
                key: _resolve_includes(project, item, folder, (*keys, key))
                for key, item in value.items()
            }
        case _:
            return value
