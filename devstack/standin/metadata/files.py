"""Reads files of a folder into models, "!include" resolved, and tells where a mistake stands."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from devstack.standin.errors import MetadataRefused

_INCLUDE = "!include"
_Keys = tuple[str | int, ...]
ModelT = TypeVar("ModelT", bound=BaseModel)


class Files:
    """The files of one folder; those that were read are in `read`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._by_place: dict[_Keys, Path] = {}  # which file stands under which keys of another

    @property
    def read(self) -> frozenset[Path]:
        """The files that were read."""
        return frozenset(self._by_place.values())

    def has(self, name: str) -> bool:
        """Tell whether there is such a file."""
        return (self._folder / name).is_file()

    def text(self, name: str) -> str:
        """Read a file.

        Raises:
            MetadataRefused: it can't be read.
        """
        return self._text(self._folder / name, (name,))

    def model(self, model: type[ModelT], name: str, environment: Mapping[str, str]) -> ModelT:
        """Read a YAML file and what it includes.

        Args:
            model: what the file must hold.
            name: of the file.
            environment: what `{{NAME}}` and keys like `value_from_env` are filled from.

        Raises:
            MetadataRefused: with one line that says where and why.
        """
        content = self._yaml(self._folder / name, (name,))
        try:
            return model.model_validate(content, context=environment)
        except ValidationError as error:
            details = error.errors(include_url=False, include_input=False)
            lines = (told(detail, lambda keys: self._place((name, *keys))) for detail in details)
            raise MetadataRefused("; ".join(lines)) from error

    def _place(self, keys: _Keys) -> str:
        """Tell the file and the keys in it: `…/actions.yaml: actions[0].definition`."""
        split = max(n for n in range(len(keys) + 1) if keys[:n] in self._by_place)
        return f"{self._by_place[keys[:split]]}: {dotted(keys[split:])}".removesuffix(": ")

    def _text(self, path: Path, keys: _Keys) -> str:
        where = f"{self._place(keys)}: {path}" if len(keys) > 1 else str(path)
        if path in self.read:  # perhaps by itself
            raise MetadataRefused(f"{where}: is included twice")
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise MetadataRefused(f"{where}: {error.strerror}") from error
        self._by_place[keys] = path
        return text

    def _yaml(self, path: Path, keys: _Keys) -> Any:
        try:
            content = yaml.load(self._text(path, keys), _Loader)
        except yaml.YAMLError as error:
            raise MetadataRefused(f"{path}: {' '.join(str(error).split())}") from error
        return self._resolved(content, path.parent, keys)

    def _resolved(self, content: Any, folder: Path, keys: _Keys) -> Any:
        """Replace each "!include FILE" by what the file holds, relative to the including file."""
        match content:
            case str() if _INCLUDE in content:
                name = content.partition(_INCLUDE)[2].strip()
                return self._yaml(Path(os.path.normpath(folder / name)), keys)
            case list():
                return [
                    self._resolved(item, folder, (*keys, index))
                    for index, item in enumerate(content)
                ]
            case dict():
                return {
                    key: self._resolved(value, folder, (*keys, key))
                    for key, value in content.items()
                }
            case _:
                return content


def told(detail: ErrorDetails, place: Callable[[_Keys], str]) -> str:
    """Tell one mistake and its place in one line."""
    keys = detail["loc"]
    if detail["type"] == "extra_forbidden":
        return f"{place(keys[:-1])}: unknown key {keys[-1]!r}"
    return f"{place(keys)}: {detail['msg'].removeprefix('Value error, ')}"


def dotted(keys: _Keys) -> str:
    """Write keys as `actions[0].definition`."""
    # The library adds the members of a union to the keys, such as "tuple[str, ...]".
    inner = [key for key in keys if isinstance(key, int) or "[" not in key]
    steps = (f"[{key}]" if isinstance(key, int) else f".{key}" for key in inner)
    return "".join(steps).lstrip(".")


class _Loader(yaml.SafeLoader):
    """YAML as Hasura's command line reads it: no key twice, "!include" as a tag or in a text."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        for index, key in enumerate(keys):
            if key in keys[:index]:
                mark = node.value[index][0].start_mark
                raise yaml.MarkedYAMLError(problem=f"{key!r} occurs twice", problem_mark=mark)
        return super().construct_mapping(node, deep)


def _include(loader: _Loader, node: yaml.ScalarNode) -> str:
    return f"{_INCLUDE} {loader.construct_scalar(node)}"


_Loader.add_constructor(_INCLUDE, _include)
