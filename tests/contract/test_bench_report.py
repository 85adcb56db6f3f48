"""What a benchmark printed is kept, drawn and shown; the page shows nothing else."""

import json
import re
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from bench.plots import PLOTS
from bench.report import BEGIN, DOCS, END, section

ROOT = Path(__file__).parents[2]
MADE_UP: list[dict[str, Any]] = [
    {"bench": "image_path", "megapixels": 1.0, "one_thread_ms": {"ours": {"decode": 1.0}}},
    {
        "bench": "renditions",
        "megapixels": 1.0,
        "processor_ms": {
            "a.webp": {"ours": 1.0, "Pillow": 5.0},
            "all": {"ours": 1.0, "Pillow": 5.0},
        },
    },
    {
        "bench": "edges",
        "colour_error": {"a kind": {"matte only": 20.0, "ours": 2.0, "pymatting": 2.0}},
    },
    {
        "bench": "network",
        "config": "swin_t",
        "size": 64,
        "wall_s": {"ours": {"1": 1.0, "2": 1.0}, "plain": {"1": 2.0, "2": 2.0}},
    },
    {"bench": "throughput", "images_per_s": {"ours": [1.0, 2.0], "ancestor": [1.0]}},
    {"bench": "storm", "rows": 2, "done_after_s": [[0.0, 0], [1.0, 2]]},
    {
        "bench": "scale",
        "uvicorn_images_per_s": 1.0,
        "images_per_s_by_replicas": {"1": 1.0, "2": 2.0},
    },
    {
        "bench": "slowdown",
        "images_per_s": 2.0,
        "images_per_s_throttled": 1.9,
        "images_per_s_in_the_5_s_after": 2.0,
    },
    {"bench": "faults", "rows_lost": 0, "heal_s": {"S3 < Hasura & we": [0.1, 0.2]}},
    {"bench": "fuzz", "untouched": True, "answers_by_status": {"200": 2, "400": 30}},
    {"bench": "hostile", "percentiles_ms": {"without": [1, 2], "with hostile files": [2, 3]}},
]


def report(docs: Path, output: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bench", "report", "--docs", str(docs)],
        cwd=ROOT,
        input=output,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    (tmp_path / "performance.md").write_text(f"before\n\n{BEGIN}\nold\n\n{END}\nafter\n")
    return tmp_path


def test_figures_are_kept_with_the_day_drawn_and_shown(docs: Path) -> None:
    first_day = date.today().isoformat()
    for figures in MADE_UP:
        output = f"told to people\n{json.dumps({**figures, 'machine': 'none'})}\n"
        ended = report(docs, output)
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, output, "")
    page = (docs / "performance.md").read_text("utf-8")
    assert page.startswith(f"before\n\n{BEGIN}\n### ")
    assert page.endswith(f"{END}\nafter\n")
    assert "| rows lost | 0 |" in page
    shown = re.findall(r"\((benchmarks/\w+\.svg)\)", page)
    assert len(shown) == len(MADE_UP) == len(PLOTS)
    for name in shown:
        assert ElementTree.parse(docs / name).getroot().tag.endswith("svg")
        kept = json.loads((docs / name).with_suffix(".json").read_text("utf-8"))
        assert first_day <= kept["date"] <= date.today().isoformat()
        assert f"On none; {kept['date']}; " in page


@pytest.mark.parametrize("output", ["", '{"bench": "unknown"}\n'])
def test_a_benchmark_that_broke_off_leaves_everything_as_it_was(docs: Path, output: str) -> None:
    before = (docs / "performance.md").read_text()
    ended = report(docs, output)
    assert ended.returncode == 1
    assert ended.stderr.startswith("Nothing is recorded")
    assert [path.name for path in docs.iterdir()] == ["performance.md"]
    assert (docs / "performance.md").read_text() == before


def test_the_page_shows_the_figures_that_are_kept() -> None:
    page = (DOCS / "performance.md").read_text("utf-8")
    folder = DOCS / "benchmarks"
    assert page.partition(BEGIN)[2].partition(END)[0] == f"\n{section(folder)}\n"
    kept = {path.stem for path in folder.glob("*.json")}
    assert kept == {path.stem for path in folder.glob("*.svg")}


def test_make_bench_runs_what_can_be_drawn() -> None:
    planned = subprocess.check_output(["make", "--dry-run", "bench"], cwd=ROOT, text=True)
    named = set(re.findall(r"for name in (.*?) \\", planned)[0].split())
    with_own_environments = {"edges", "network", "scale"}
    assert named == set(PLOTS) - with_own_environments
