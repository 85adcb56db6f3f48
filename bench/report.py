"""Keep and draw what a benchmark printed: `python -m bench NAME | python -m bench report`.

The last line of every benchmark is one JSON object. With the day it becomes
docs/benchmarks/NAME.json, its plot lies beside it, and docs/performance.md shows both.
"""

import argparse
import json
import sys
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Any

from bench.plots import PLOTS, Figures, draw

DOCS = Path(__file__).parents[1] / "docs"
BEGIN, END = "<!-- from here on by python -m bench report -->\n", "<!-- to here -->\n"


def read_figures(output: Iterable[str]) -> dict[str, Any]:
    """Pass a benchmark's output on; return the figures of its last line.

    Raises:
        ValueError: the last line isn't the figures of a benchmark.
    """
    line = ""
    for line in output:
        print(line, end="", flush=True)
    figures = json.loads(line)
    if not isinstance(figures, dict) or figures.get("bench") not in PLOTS:
        raise ValueError("no benchmark's figures")
    return figures


def section(folder: Path) -> str:
    """Return what the page shows of the figures in a folder, benchmark by benchmark."""
    shown = []
    for name in PLOTS:
        path = folder / f"{name}.json"
        if path.exists():
            shown.append(_entry(json.loads(path.read_text("utf-8"))))
    return "\n".join(shown) or "None has been recorded yet.\n"


def _entry(figures: Figures) -> str:
    name = figures["bench"]
    told = [
        f"| {key.replace('_', ' ')} | {value} |"
        for key, value in figures.items()
        if key not in ("bench", "machine", "date") and not isinstance(value, dict | list)
    ]
    lines = [
        f"### {name}",
        "",
        f"![{(PLOTS[name].__doc__ or name).strip()}](benchmarks/{name}.svg)",
        "",
        f"On {figures['machine']}; {figures['date']}; [{name}.json](benchmarks/{name}.json).",
        "",
        "| Figure | Value |",
        "|---|---:|",
        *told,
        "",
    ]
    return "\n".join(lines)


def record(figures: dict[str, Any], docs: Path) -> None:
    """Write a benchmark's figures, its plot, and the page's section."""
    folder = docs / "benchmarks"
    folder.mkdir(exist_ok=True)
    name = figures["bench"]
    lines = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in figures.items()]
    (folder / f"{name}.json").write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")
    draw(figures, folder / f"{name}.svg")
    page = docs / "performance.md"
    before, _, rest = page.read_text("utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    page.write_text(f"{before}{BEGIN}\n{section(folder)}\n{END}{after}", "utf-8")


def main() -> None:
    """Read one benchmark's output on stdin, and keep its figures."""
    parser = argparse.ArgumentParser(prog="python -m bench report", description=__doc__)
    parser.add_argument("--docs", type=Path, default=DOCS, help="folder of the documentation")
    options = parser.parse_args()
    try:
        figures = read_figures(sys.stdin)
    except ValueError:
        sys.exit("Nothing is recorded: the last line is not the figures of a benchmark.")
    record({**figures, "date": date.today().isoformat()}, options.docs)
