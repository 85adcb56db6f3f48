"""The steps of `connect`, one after the other: read, tell, and do what was asked for."""

import argparse
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from webhook.commands.connect import through_api
from webhook.commands.connect.columns import down_sql
from webhook.commands.connect.live import Exported, Live
from webhook.commands.connect.merge import identity, item_of, look_up, take_back
from webhook.commands.connect.plan import Plan, make_plan
from webhook.commands.connect.project import Project, open_project
from webhook.commands.connect.receipt import (
    Joined,
    Receipt,
    read_receipt,
    refuse_other_documents,
    remove_texts,
    write_receipt,
    write_texts,
)
from webhook.commands.connect.tell import told_plan, told_removal, untouched
from webhook.commands.doctor.engine import NoAnswer
from webhook.commands.doctor.examination import Trouble
from webhook.hasura.binding import binding_of
from webhook.settings import ConnectSettings, load_connect_settings

_NOTHING_YET = "Nothing was changed. To do it: --apply, or --project FOLDER."


def connect(options: argparse.Namespace) -> int:
    """Do what the command line asks for; return the exit status.

    Raises:
        ConfigurationError: the settings are wrong.
        Trouble: it can't be done; the message tells what to do.
    """
    settings = load_connect_settings()
    folder: Path = options.documents or settings.graphql_documents
    project = open_project(options.project, options.source) if options.project else None
    live = Live(settings, options.source)
    try:
        case = _Case(
            options,
            settings,
            folder,
            live,
            project,
            live.export(),
            read_receipt(folder, settings.table, options.source),
        )
        return _remove(case) if options.remove else _add(case)
    except OSError as exc:
        raise Trouble(f"A file can't be read or written: {exc}") from exc


@dataclass(frozen=True, slots=True)
class _Case:
    options: argparse.Namespace
    settings: ConnectSettings
    folder: Path
    live: Live
    project: Project | None
    seen: Exported
    receipt: Receipt

    @property
    def way(self) -> str:
        return "project" if self.project else "apply"

    @property
    def joined(self) -> Joined:
        return self.receipt.ways.get(self.way, Joined())

    def metadata(self) -> Any:
        return self.project.metadata() if self.project else self.seen.metadata


def _add(case: _Case) -> int:
    binding, columns = binding_of(case.settings), case.joined.columns if case.project else ()
    plan = make_plan(
        case.live,
        case.metadata(),
        binding,
        case.settings.source_key_column,
        case.options.role,
        already=columns,
    )
    refuse_other_documents(case.folder, case.receipt, plan.documents)
    files = [
        case.folder / name
        for name, text in plan.documents.items()
        if not _says(case.folder / name, text)
    ]
    if not (plan.missing or plan.added or files):
        print(f"{plan.table} is connected: there is nothing to do.")
        return 0
    _print(told_plan(plan, files))
    print(untouched(plan.metadata, binding))
    _print(plan.hints)
    if case.project:
        return _add_to_project(case, case.project, plan)
    if case.options.apply:
        return _add_through_api(case, plan)
    print(_NOTHING_YET)
    return 0


def _add_to_project(case: _Case, project: Project, plan: Plan) -> int:
    project.add(plan.added)
    migrations = [project.add_migration(plan.table, plan.missing)] if plan.missing else []
    changed = project.save(plan.merged)
    joined = Joined(list(plan.missing), plan.added, migrations)
    write_receipt(case.folder, _with(case, plan, joined))
    write_texts(case.folder, plan.documents)
    _print(["Written:", *(f"  {path}" for path in changed)])
    print("Look at it by git diff, and apply it: first the migration, then the metadata.")
    _tell_what_the_service_needs(case)
    return 0


def _add_through_api(case: _Case, plan: Plan) -> int:
    if plan.missing or plan.added:
        print(f"The metadata of before is in {through_api.keep(case.folder, case.seen)}")
    # Written first: if this process dies, the receipt still tells what may have been added.
    write_receipt(case.folder, _with(case, plan, Joined(list(plan.missing), plan.added)))
    try:
        through_api.apply(case.live, plan, case.seen)
    except NoAnswer as exc:
        raise Trouble(
            f"{exc}\nWhether it was done is not known: --remove takes back what was."
        ) from exc
    except Trouble:
        write_receipt(case.folder, case.receipt)
        raise
    write_texts(case.folder, plan.documents)
    print(f"Done. To undo it: python -m webhook connect --remove --apply --documents {case.folder}")
    failures = through_api.check_role(case.live, case.folder)
    _print(f"But {it}" for it in failures)
    _tell_what_the_service_needs(case)
    return 1 if failures else 0


def _remove(case: _Case) -> int:
    if case.way not in case.receipt.ways:
        others = "".join(f" It was added by --{way}." for way in case.receipt.ways)
        print(f"{case.folder} has no receipt of that: there is nothing to take back.{others}")
        return 0
    metadata, binding = case.metadata(), binding_of(case.settings)
    rest, left = take_back(metadata, case.joined.added)
    gone = [
        it
        for it in case.joined.added
        if it not in left and item_of(look_up(metadata, it.at), identity(it.item)) is not None
    ]
    table = case.live.table(binding)
    columns = [name for name in case.joined.columns if name in table.columns]
    sql = down_sql(table, columns) if columns else ""
    _print(told_removal("" if case.project else sql, gone, left))
    print(untouched(metadata, binding))
    if case.project:
        case.project.take_back(reversed(gone))
        for migration in case.joined.migrations:
            case.project.remove_migration(migration)
        _print(["Written:", *(f"  {path}" for path in case.project.save(rest))])
        if sql:
            print(f"The database has the columns still. To drop them:\n{sql}")
    elif case.options.apply:
        print(f"The metadata of before is in {through_api.keep(case.folder, case.seen)}")
        through_api.take_back(case.live, table, columns, rest, case.seen)
    else:
        print(_NOTHING_YET)
        return 0
    receipt = case.receipt.with_way(case.way, None)
    if not receipt.ways:
        remove_texts(case.folder, receipt)
    write_receipt(case.folder, receipt)
    print("What connect had added is taken back.")
    return 0


def _with(case: _Case, plan: Plan, joined: Joined) -> Receipt:
    receipt = case.receipt.with_documents(plan.documents)
    return receipt.with_way(case.way, case.joined.plus(joined))


def _tell_what_the_service_needs(case: _Case) -> None:
    print(f"The service needs GRAPHQL_DOCUMENTS={case.folder}, beside the settings of this call.")


def _says(path: Path, text: str) -> bool:
    return path.exists() and path.read_bytes() == text.encode()


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        print(line)
