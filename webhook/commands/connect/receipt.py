"""The folder of the documents: what it has, what connect wrote there, and the receipt of it all."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from webhook.commands.connect.merge import Addition
from webhook.commands.doctor.examination import Trouble
from webhook.commands.files import write_whole

_FILE = "connected.json"


@dataclass(frozen=True, slots=True)
class Joined:
    """What was added in one of the two ways.

    Attributes:
        columns: To the table.
        added: To the metadata.
        migrations: Folders of the project that add those columns.
    """

    columns: Sequence[str] = ()
    added: Sequence[Addition] = ()
    migrations: Sequence[str] = ()

    @classmethod
    def read(cls, told: Mapping[str, Any]) -> Self:
        """Take it from the receipt."""
        added = [Addition(tuple(it["at"]), it["item"], it["made"]) for it in told["added"]]
        return cls(told["columns"], added, told["migrations"])

    def plus(self, other: "Joined") -> "Joined":
        """Return both together, the other one as the later one."""
        return Joined(
            [*self.columns, *(it for it in other.columns if it not in self.columns)],
            [*self.added, *other.added],
            [*self.migrations, *other.migrations],
        )


@dataclass(frozen=True, slots=True)
class Receipt:
    """What connect has added for one table.

    Attributes:
        table: Schema and name.
        source: Hasura's name of its database.
        documents: The digest of each document, by its file's name.
        ways: What was added, by `apply` or `project`.
    """

    table: str
    source: str
    documents: Mapping[str, str] = field(default_factory=dict)
    ways: Mapping[str, Joined] = field(default_factory=dict)

    def with_documents(self, texts: Mapping[str, str]) -> "Receipt":
        """Return it with the digests of these documents."""
        digests = {name: _of(text) for name, text in texts.items()}
        return Receipt(self.table, self.source, digests, self.ways)

    def with_way(self, way: str, joined: Joined | None) -> "Receipt":
        """Return it with something else for one way; None: nothing was added."""
        others = {name: it for name, it in self.ways.items() if name != way}
        ways = others if joined is None else {**others, way: joined}
        return Receipt(self.table, self.source, self.documents, ways)


def read_receipt(folder: Path, table: str, source: str) -> Receipt:
    """Read what was added for a table; nothing, if there is no receipt.

    Raises:
        Trouble: the folder belongs to another table, or the receipt can't be read.
    """
    path = folder / _FILE
    try:
        told = json.loads(path.read_text("utf-8"))
        ways = {way: Joined.read(it) for way, it in told["ways"].items()}
        receipt = Receipt(told["table"], told["source"], told["documents"], ways)
    except FileNotFoundError:
        return Receipt(table, source)
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as exc:
        raise Trouble(f"{path} can't be read: {exc}. Bring it back as connect wrote it.") from exc
    if (receipt.table, receipt.source) != (table, source):
        raise Trouble(
            f"{folder} belongs to {receipt.table} of {receipt.source}: name another folder by "
            "--documents."
        )
    return receipt


def write_receipt(folder: Path, receipt: Receipt) -> None:
    """Write the receipt; where nothing is left, remove it.

    Raises:
        OSError: it can't be written.
    """
    path = folder / _FILE
    if not receipt.ways:
        path.unlink(missing_ok=True)
        return
    folder.mkdir(parents=True, exist_ok=True)
    told = {
        "about": "What python -m webhook connect has added, for its --remove. Keep this file.",
        "table": receipt.table,
        "source": receipt.source,
        "documents": dict(receipt.documents),
        "ways": {way: asdict(joined) for way, joined in receipt.ways.items()},
    }
    write_whole(path, (json.dumps(told, indent=2) + "\n").encode())


def refuse_other_documents(folder: Path, receipt: Receipt, texts: Mapping[str, str]) -> None:
    """See that no document of somebody else's would be written over.

    Raises:
        Trouble: one would.
    """
    for name, text in texts.items():
        path = folder / name
        if path.exists() and _digest(path) not in (receipt.documents.get(name), _of(text)):
            raise Trouble(
                f"{path} is not what connect would write: move it away, or name another folder by "
                "--documents."
            )


def write_texts(folder: Path, texts: Mapping[str, str]) -> None:
    """Write the documents.

    Raises:
        OSError: one can't be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        write_whole(folder / name, text.encode())


def remove_texts(folder: Path, receipt: Receipt) -> None:
    """Remove the documents that are as connect wrote them."""
    for name, digest in receipt.documents.items():
        path = folder / name
        if path.exists() and _digest(path) == digest:
            path.unlink()


def _of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
