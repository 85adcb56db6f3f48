"""What CONTRIBUTING.md and the pages of figures say to type."""

import json
import runpy
import shutil
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bench.throughput import FLAT
from devstack.processes import free_port
from devstack.stack import says_ok
from tests.docs.terminal import Terminal
from tests.support.downloads import NO_NETWORK
from tests.support.faults.scenarios import SCENARIOS
from tests.support.hostile import KINDS

CHEAP = ("gif-huge-canvas", "jpeg-4-gigapixels", "mutant", "zip")

# Small enough for a test, which looks at what is measured and not at how much.
SMALL: dict[str, tuple[list[str], dict[str, Any]]] = {
    "python -m bench image_path": (["--megapixels", "0.3", "--rounds", "1"], {}),
    "python -m bench renditions": (
        ["--rounds", "1", "--seconds", "0.5"],
        {"MEGAPIXELS": 0.2, "IN_FLIGHT": 2, "DEVICE_S": 0.01},
    ),
    "python -m bench throughput": (
        ["--seconds", "1"],
        {
            "MEGAPIXELS": 0.2,
            "IN_FLIGHT": 4,
            "IDLE_IMAGES": 3,
            "IDLE_PAUSE_S": 0,
            "FLAT": replace(FLAT, image_s=0.04),
        },
    ),
    "python -m bench storm": (["--rows", "8", "--late", "0"], {"MEGAPIXELS": 0.2, "LATE_BY_S": 1}),
    "python -m bench slowdown": (["--seconds", "1"], {"MEGAPIXELS": 0.2, "RECOVERY_S": 1}),
    "python -m bench faults": (["--rounds", "1"], {"SCENARIOS": SCENARIOS[:2]}),
    "python -m bench fuzz": (["--examples", "20"], {}),
    "python -m bench hostile": (
        ["--honest", "10"],
        {"MEGAPIXELS": 0.2, "INTERVAL_S": 0.1, "KINDS": {kind: KINDS[kind] for kind in CHEAP}},
    ),
    "python -m bench scale": (
        ["--rounds", "1", "--seconds", "1"],
        {"MEGAPIXELS": 0.2, "DEVICE_S": 0.05, "ENGINES": (None, 1)},
    ),
}


@pytest.mark.parametrize("command", SMALL)
def test_a_benchmark_measures_and_its_figures_are_kept(
    terminal: Terminal,
    command: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    name = command.rpartition(" ")[2]
    options, constants = SMALL[command]
    for constant, value in constants.items():
        monkeypatch.setattr(f"bench.{name}.{constant}", value)
    if name == "faults":  # the only one that writes a page itself
        monkeypatch.setattr("bench.faults.PAGE", terminal.folder / "docs" / "reliability.md")
    monkeypatch.setattr(sys, "argv", ["bench", name, *options])
    with suppress(SystemExit):  # a promise of speed that is broken here, on a busy machine
        runpy.run_module("bench", run_name="__main__")
    said = capsys.readouterr().out
    figures = json.loads(said.splitlines()[-1])
    assert figures["bench"] == name
    broken = ("rows_lost", "rows_wrong", "server_errors", "honest_failed", "restarts")
    assert not any(figures.get(promise) for promise in broken)
    assert figures.get("untouched", True)
    (terminal.folder / "figures.txt").write_text(said)
    kept = terminal.folder / "docs" / "benchmarks" / f"{name}.json"
    kept.unlink(missing_ok=True)
    terminal.type("python -m bench report", "< figures.txt")
    assert json.loads(kept.read_text())["bench"] == name
    assert kept.with_suffix(".svg").exists()


def test_what_is_badly_formatted_is_mended(terminal: Terminal) -> None:
    (terminal.folder / "webhook" / "new.py").write_text("import os, sys\nprint( os,sys )\n")
    terminal.type("make fix", status=2)  # the docstring that is missing is left to us
    assert "print(os, sys)" in (terminal.folder / "webhook" / "new.py").read_text()


def test_the_fast_tests_are_found(terminal: Terminal) -> None:
    terminal.environment["PYTEST_ADDOPTS"] = "--collect-only --quiet"
    said = terminal.type("make unit")
    assert "tests/unit/" in said
    assert "tests/e2e/" not in said


def pins(folder: Path) -> dict[str, list[str]]:
    return {
        file.name: [line for line in file.read_text().splitlines() if "==" in line]
        for file in (folder / "requirements.txt", *folder.glob("requirements/*.txt"))
    }


def test_the_lock_files_are_those_of_the_in_files(terminal: Terminal) -> None:
    before = pins(terminal.folder)
    terminal.environment["UV_HTTP_TIMEOUT"] = "20"
    said = terminal.type("make lock", '|| echo "failed: $?"', timeout_s=300)
    if any(sign in said for sign in NO_NETWORK):
        pytest.skip("the package index can't be reached")
    assert "failed:" not in said
    assert pins(terminal.folder) == before


def test_the_audit_tells_what_it_knows(terminal: Terminal) -> None:
    said = terminal.type("make audit", "|| true")  # an advisory is no failure of the code
    assert "packages audited" in said or "NOT AUDITED" in said


def sizes(folder: Path) -> dict[str, tuple[int, int]]:
    found = {}
    for picture in folder.glob("page-*.webp"):
        with Image.open(picture) as image:
            found[picture.name] = image.size
    return found


@pytest.mark.skipif(shutil.which("chromium") is None, reason="Chromium is missing")
def test_the_pictures_of_the_page_are_made_anew(terminal: Terminal) -> None:
    folder = terminal.folder / "docs" / "images"
    before = sizes(folder)
    for name in before:
        (folder / name).unlink()
    terminal.type("make screenshots")
    assert sizes(folder) == before


def test_the_stand_in_is_started_by_hand(terminal: Terminal, own_database: str) -> None:
    port = free_port()
    terminal.filled_in = {
        "postgresql://…": own_database,
        "SECRET=…": "SECRET=0123456789abcdef",
        "8080": str(port),
        "8000": str(free_port()),
    }
    with terminal.typing(
        "HASURA_GRAPHQL_DATABASE_URL=postgresql://… HASURA_GRAPHQL_ADMIN_SECRET=…"
        " WEBHOOK_BASE_URL=http://127.0.0.1:8000 WEBHOOK_SECRET=… python -m devstack.standin"
        " --metadata hasura_metadata --migrations migrations --host 127.0.0.1 --port 8080"
    ) as engine:
        engine.wait_until(says_ok(f"http://127.0.0.1:{port}/healthz"))
        assert engine.press_ctrl_c() == 0
