"""A project of Hasura's command line: its files as metadata, and additions as text in them."""

import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from graphql import GraphQLError

from webhook.commands.connect import sdl
from webhook.commands.connect.columns import Table, down_sql, up_sql
from webhook.commands.connect.merge import Addition, Step, identity, look_up
from webhook.commands.connect.yaml_lists import INCLUDE, Quoted, dump, insert, load, remove
from webhook.commands.doctor.examination import Trouble
from webhook.commands.files import write_whole

# Where the lists of the metadata are, and what leads to them in their files.
_FILES: Mapping[str, tuple[str, Sequence[str]]] = {
    "sources": ("databases/databases.yaml", ()),
    "actions": ("actions.yaml", ("actions",)),
    "custom_types": ("actions.yaml", ("custom_types",)),
    "query_collections": ("query_collections.yaml", ()),
    "allowlist": ("allow_list.yaml", ()),
    "inherited_roles": ("inherited_roles.yaml", ()),
}
_ACTIONS = "actions.graphql"


@dataclass(slots=True)
class Project:
    """The project's texts as they are on disk, and as they are to be; None is no file."""

    folder: Path
    metadata_folder: Path
    migrations_folder: Path
    on_disk: dict[Path, str | None] = field(default_factory=dict)
    texts: dict[Path, str | None] = field(default_factory=dict)

    def metadata(self) -> dict[str, Any]:
        """Put the files together as Hasura exports them.

        Raises:
            Trouble: one can't be read.
        """
        try:
            found: dict[str, Any] = {"version": 3}
            for key, (name, way) in _FILES.items():
                value = look_up(self._included(self.metadata_folder / name), way)
                if value is not None:
                    found[key] = value
            return _signed(found, self._text(self.metadata_folder / _ACTIONS) or "")
        except (yaml.YAMLError, GraphQLError, LookupError, TypeError, AttributeError) as exc:
            raise Trouble(f"The metadata of {self.folder} can't be read: {exc}") from exc

    def add(self, added: Iterable[Addition]) -> None:
        """Write additions into the texts.

        Raises:
            Trouble: they are written in a way that makes this impossible.
        """
        with self._understood():
            for addition in added:
                self._add(addition)

    def take_back(self, gone: Iterable[Addition]) -> None:
        """Take additions out of the texts, each before those that it needed; raises as `add`."""
        with self._understood():
            for addition in gone:
                self._take_back(addition)

    def _add(self, addition: Addition) -> None:
        path, way = self._place(addition.at)
        item = addition.item
        match addition.at[-1]:
            case "tables" if self._has_a_file_for_each(path):
                name = f"{item['table']['schema']}_{item['table']['name']}.yaml"
                if self._text(path.with_name(name)) is not None:
                    raise Trouble(f"{path.with_name(name)} is there and not included: remove it.")
                self._set(path.with_name(name), dump(item))
                item = Quoted(f"{INCLUDE} {name}")
            case "actions":
                self._sign(sdl.with_action, item)
                item = {**item, "definition": _unsigned(item["definition"])}
            case "objects":
                self._sign(sdl.with_type, item)
                item = _unsigned(item)
        self._set(path, insert(self._text(path) or "", way, item))

    def _take_back(self, addition: Addition) -> None:
        told: Any = identity(addition.item)
        path, way = self._place(addition.at)
        at, rest = self._place((*addition.at, told))
        if at != path and not rest:  # the item has a file of its own
            self._set(at, None)
            told = self._includes(path, at)
        match addition.at[-1]:
            case "actions":
                self._sign(sdl.without_action, addition.item["name"])
            case "objects":
                self._sign(sdl.without_type, addition.item["name"])
        text = remove(self._text(path) or "", way, told, addition.made)
        is_made_and_empty = addition.made and text.strip() in ("[]", "{}")
        self._set(path, None if is_made_and_empty else text)
        signatures = self.metadata_folder / _ACTIONS
        if self._text(self.metadata_folder / "actions.yaml") is None and not self._text(signatures):
            self._set(signatures, None)

    def add_migration(self, table: Table, missing: Mapping[str, str]) -> str:
        """Write a migration that adds columns; return its folder's name."""
        folders = [it.name for it in self.migrations_folder.glob("[0-9]*_*")]
        newest = max((int(name.partition("_")[0]) for name in folders), default=0)
        version = max(time.time_ns() // 1_000_000, newest + 1)
        name = f"{version}_remove_background_of_{re.sub(r'[^0-9A-Za-z]', '_', table.name)}"
        self._set(self.migrations_folder / name / "up.sql", up_sql(table, missing))
        self._set(self.migrations_folder / name / "down.sql", down_sql(table, list(missing)))
        return name

    def remove_migration(self, name: str) -> None:
        """Remove a migration's files."""
        for file in ("up.sql", "down.sql"):
            if self._text(self.migrations_folder / name / file) is not None:
                self._set(self.migrations_folder / name / file, None)

    def save(self, wanted: Mapping[str, Any]) -> list[Path]:
        """Write all files, if they say what is wanted; return those that changed.

        Raises:
            Trouble: they do not, or one can't be written; the files are as they were.
        """
        with self._understood():
            if self.metadata() != wanted:
                raise LookupError("the files would not say what they should")
        changed = [path for path, text in self.texts.items() if text != self.on_disk[path]]
        written: list[Path] = []
        try:
            for path in changed:
                written.append(path)
                _put(path, self.texts[path])
        except OSError as exc:
            for path in written:
                _put(path, self.on_disk[path])
            raise Trouble(f"{written[-1]} can't be written: {exc}. Nothing was changed.") from exc
        return changed

    @contextmanager
    def _understood(self) -> Iterator[None]:
        try:
            yield
        except (yaml.YAMLError, GraphQLError, LookupError, TypeError, AttributeError) as exc:
            raise Trouble(
                f"The files of {self.metadata_folder} are written in a way that connect can't "
                "change. Nothing was changed: use --apply, and then hasura metadata export."
            ) from exc

    def _text(self, path: Path) -> str | None:
        if path not in self.texts:
            try:
                self.on_disk[path] = path.read_bytes().decode()
            except FileNotFoundError:
                self.on_disk[path] = None
            except (OSError, UnicodeDecodeError) as exc:
                raise Trouble(f"{path} can't be read: {exc}") from exc
            self.texts[path] = self.on_disk[path]
        return self.texts[path]

    def _set(self, path: Path, text: str | None) -> None:
        self._text(path)
        self.texts[path] = text

    def _included(self, path: Path) -> Any:
        """Read a file with all that it includes."""
        text = self._text(path)
        return None if text is None else self._resolved(path, load(text))

    def _resolved(self, path: Path, value: Any) -> Any:
        match value:
            case str() if INCLUDE in value:
                there = _included_path(path, value)
                if self._text(there) is None:
                    raise LookupError(f"{path} includes {there}, which is not there")
                return self._included(there)
            case list():
                return [self._resolved(path, it) for it in value]
            case dict():
                return {key: self._resolved(path, it) for key, it in value.items()}
        return value

    def _place(self, at: Sequence[Step]) -> tuple[Path, list[Step]]:
        """Return the file in which something of the metadata stands, and its way there."""
        name, way = _FILES[str(at[0])]
        path = self.metadata_folder / name
        node = load(self._text(path) or "")
        inside: list[Step] = []
        for step in (*way, *at[1:]):
            inside.append(step)
            node = self._below(path, node, step)
            if isinstance(node, str) and INCLUDE in node:
                path, inside = _included_path(path, node), []
                node = load(self._text(path) or "")
        return path, inside

    def _below(self, path: Path, node: Any, step: Step) -> Any:
        if isinstance(step, str):
            return look_up(node, [step])
        items = node if isinstance(node, list) else []
        return next((it for it in items if identity(self._resolved(path, it)) == step), None)

    def _includes(self, path: Path, included: Path) -> str:
        """Return the item of a list in a file that includes another file."""
        items: list[Any] = load(self._text(path) or "")
        return next(
            it for it in items if isinstance(it, str) and _included_path(path, it) == included
        )

    def _has_a_file_for_each(self, path: Path) -> bool:
        """Tell whether the tables of a list have files of their own, as exports write them."""
        items = load(self._text(path) or "")
        if isinstance(items, list) and path.name != "databases.yaml":
            return all(isinstance(it, str) for it in items)
        return False

    def _sign(self, change: Callable[[str, Any], str], told: Any) -> None:
        path = self.metadata_folder / _ACTIONS
        self._set(path, change(self._text(path) or "", told))


def open_project(folder: Path, source: str) -> Project:
    """Find the folders of a project.

    Raises:
        Trouble: it is none.
    """
    try:
        config = yaml.safe_load((folder / "config.yaml").read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as exc:
        raise Trouble(
            f"{folder} is no project of Hasura's command line: its config.yaml can't be read "
            f"({exc})."
        ) from exc
    if not isinstance(config, Mapping) or config.get("version") != 3:
        raise Trouble(
            f"{folder}/config.yaml is not of version 3: run hasura scripts update-project-v3."
        )
    metadata = folder / (config.get("metadata_directory") or "metadata")
    if not (metadata / "databases" / "databases.yaml").exists():
        raise Trouble(f"{metadata} has no databases/databases.yaml: run hasura metadata export.")
    migrations = folder / (config.get("migrations_directory") or "migrations")
    return Project(folder, metadata, migrations / source)


def _included_path(path: Path, value: str) -> Path:
    return Path(os.path.normpath(path.parent / value.partition(INCLUDE)[2].strip()))


def _signed(metadata: dict[str, Any], text: str) -> dict[str, Any]:
    """Add what actions.graphql says."""
    actions, types = sdl.read_actions(text), sdl.read_types(text)
    for action in metadata.get("actions") or ():
        if action["name"] not in actions:
            raise LookupError(f"the action {action['name']} is not in {_ACTIONS}")
        action["definition"] |= actions[action["name"]]
    for types_of_a_kind in (metadata.get("custom_types") or {}).values():
        for type_ in types_of_a_kind or ():
            type_ |= types.get(type_["name"], {})
    return metadata


def _unsigned(told: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what actions.graphql says."""
    signature = ("type", "arguments", "output_type", "fields")
    return {key: value for key, value in told.items() if key not in signature}


def _put(path: Path, text: str | None) -> None:
    if text is None:
        path.unlink(missing_ok=True)
        if path.parent.is_dir() and not any(path.parent.iterdir()):
            path.parent.rmdir()
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, text.encode())
