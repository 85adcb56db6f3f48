"""Break every neighbour several times: `python -m bench faults [--rounds]`.

The faults are those of tests/faults, on the same stack, with real processes. What they cost is
written into docs/reliability.md.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from bench.machine import describe_machine
from tests.support.faults.neighbourhood import neighbourhood
from tests.support.faults.scenarios import SCENARIOS, Outcome

PAGE = Path(__file__).parents[1] / "docs" / "reliability.md"
BEGIN, END = "<!-- from here on by python -m bench faults -->\n", "<!-- to here -->\n"


def measure(rounds: int) -> tuple[Mapping[str, list[Outcome]], int]:
    """Inject every fault `rounds` times, all of them in turn; tell how many rows are wrong then."""
    outcomes: dict[str, list[Outcome]] = {scenario.name: [] for scenario in SCENARIOS}
    with tempfile.TemporaryDirectory() as folder, neighbourhood(Path(folder)) as house:
        for _ in range(rounds):
            for scenario in SCENARIOS:
                outcome = scenario.run(house)
                outcomes[scenario.name].append(outcome)
                print(f"{scenario.name}: {outcome}", flush=True)
        wrong = len(house.wrong())
    return outcomes, wrong


def table(outcomes: Mapping[str, list[Outcome]]) -> str:
    """Return the table of the page."""
    lines = [
        "| Fault | Injected | Rows lost | Computed twice | Seconds to heal, median (worst) |",
        "|---|---|---|---|---|",
    ]
    for name, runs in outcomes.items():
        seconds = [run.heal_s for run in runs]
        lines.append(
            f"| {name} | {len(runs)} | {sum(run.lost for run in runs)} "
            f"| {sum(run.computed_twice for run in runs)} "
            f"| {statistics.median(seconds):.1f} ({max(seconds):.1f}) |"
        )
    everything = [run for runs in outcomes.values() for run in runs]
    lines.append(
        f"| **all** | {len(everything)} | {sum(run.lost for run in everything)} "
        f"| {sum(run.computed_twice for run in everything)} | |"
    )
    return "\n".join(lines)


def main() -> None:
    """Run all, put the table into the page, and print it and one line of JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench faults", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="how often each fault is injected")
    options = parser.parse_args()
    where = describe_machine()
    started = time.monotonic()
    outcomes, wrong = measure(options.rounds)
    made = table(outcomes)
    took = f"{(time.monotonic() - started) / options.rounds:.0f} s a round"
    told = (
        f"When everything had come to rest, row, cut-out and newest source disagreed of {wrong} "
        f"images.\nOn {where}; {took}."
    )
    print(f"{made}\n\n{told}")
    before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    PAGE.write_text(f"{before}{BEGIN}\n{made}\n\n{told}\n\n{END}{after}", "utf-8")
    everything = [run for runs in outcomes.values() for run in runs]
    figures = {
        "bench": "faults",
        "injected": len(everything),
        "rows_lost": sum(run.lost for run in everything),
        "rows_wrong": wrong,
        "computed_twice": sum(run.computed_twice for run in everything),
        "heal_s": {name: [round(run.heal_s, 2) for run in runs] for name, runs in outcomes.items()},
        "machine": where,
    }
    print(json.dumps(figures))
