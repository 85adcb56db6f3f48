"""One plot for each benchmark, drawn from its figures and nothing else."""

import statistics
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

Figures = Mapping[str, Any]
OURS, THEIRS, THIRD = "#1f6feb", "#9aa4b2", "#e3a008"
_STAGES = {"decode": OURS, "prepare": THIRD, "compose": "#7d5bd0", "render": "#7d5bd0"}

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "bench",  # the same figures, the same file
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def draw(figures: Figures, target: Path) -> None:
    """Draw the figures of the benchmark that they name, as SVG."""
    with rc_context(_STYLE):
        figure = Figure(figsize=(7.2, 2.8), layout="constrained")
        PLOTS[figures["bench"]](figure.subplots(), figures)
        figure.savefig(target, format="svg", metadata={"Date": None})


def image_path(axes: Axes, figures: Figures) -> None:
    """Milliseconds of each stage, in one bar for each way."""
    named: set[str] = set()
    for way, stages in figures["one_thread_ms"].items():
        left = 0.0
        for stage, ms in stages.items():
            label = None if stage in named else stage
            axes.barh(way, ms, left=left, color=_STAGES.get(stage, THEIRS), label=label)
            left, named = left + ms, named | {stage}
        axes.annotate(
            f"{left:,.0f} ms", (left, way), (3, 0), textcoords="offset points", va="center"
        )
    axes.margins(x=0.15)
    axes.set_xlabel(f"ms for {figures['megapixels']:g} megapixels, one thread")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)


def network(axes: Axes, figures: Figures) -> None:
    """Seconds of a forward pass, ours beside the plain one."""
    for offset, (kind, by_threads) in zip((-0.2, 0.2), figures["wall_s"].items(), strict=True):
        places = [index + offset for index in range(len(by_threads))]
        colour = OURS if kind == "ours" else THEIRS
        bars = axes.barh(places, by_threads.values(), 0.38, color=colour, label=kind)
        axes.bar_label(bars, fmt="%.2f s", padding=3)
    axes.set_yticks(range(len(by_threads)), [f"threads: {threads}" for threads in by_threads])
    axes.margins(x=0.12)
    axes.set_xlabel(f"s per pass, {figures['config']}, {figures['size']} x {figures['size']}")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)


def edges(axes: Axes, figures: Figures) -> None:
    """Error of the subject's colours by kind of edge: the matte only, ours, pymatting."""
    error = figures["colour_error"]
    if isinstance(axes.figure, Figure):
        axes.figure.set_size_inches(7.2, 1 + 0.4 * len(error))
    for index, (way, colour) in enumerate(
        zip(("matte only", "ours", "pymatting"), (THIRD, OURS, THEIRS), strict=True)
    ):
        places = [place + 0.27 * (index - 1) for place in range(len(error))]
        values = [by_way[way] for by_way in error.values()]
        bars = axes.barh(places, values, 0.25, color=colour, label=way)
        axes.bar_label(bars, fmt="%.1f", padding=3)
    axes.set_yticks(range(len(error)), list(error))
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xlabel("mean difference to the subject's colours, weighted by alpha, grey levels")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)


def throughput(axes: Axes, figures: Figures) -> None:
    """Images per second on both simulated devices: the ideal, ours, the ancestor's."""
    profiles = ("flat", "batched")
    colours = (THIRD, OURS, THEIRS)
    for index, (name, per_s) in enumerate(figures["images_per_s"].items()):
        places = [place + 0.27 * (index - 1) for place in range(len(per_s))]
        bars = axes.barh(places, per_s, 0.25, color=colours[index], label=name)
        axes.bar_label(bars, fmt="%.2f", padding=3)
    axes.set_yticks(range(len(profiles)), profiles)
    axes.invert_yaxis()
    axes.set_xlabel("images per second")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)


def storm(axes: Axes, figures: Figures) -> None:
    """Rows that are done, second by second."""
    seconds, done = zip(*figures["done_after_s"], strict=True)
    axes.plot(seconds, done, color=OURS, label="done")
    axes.axhline(figures["rows"], color=THEIRS, linestyle="--", label="inserted")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("s since the insert")
    axes.set_ylabel("rows")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)


def scale(axes: Axes, figures: Figures) -> None:
    """Images per second by replicas, beside one process and its multiples."""
    one = figures["uvicorn_images_per_s"]
    by_replicas = figures["images_per_s_by_replicas"]
    names = ["uvicorn", *(f"Ray, {count}" for count in by_replicas)]
    colours = [THEIRS, *(OURS for _ in by_replicas)]
    bars = axes.barh(names, [one, *by_replicas.values()], color=colours)
    axes.bar_label(bars, fmt="%.2f", padding=3)
    for place, count in enumerate(by_replicas, start=1):
        axes.plot([one * int(count)] * 2, [place - 0.4, place + 0.4], color="black", linewidth=1)
    axes.margins(x=0.12)
    axes.invert_yaxis()
    axes.set_xlabel("images per second; line: as many times uvicorn's as there are replicas")


def faults(axes: Axes, figures: Figures) -> None:
    """Seconds until all was right again: median and worst of each fault."""
    heal_s: Mapping[str, list[float]] = figures["heal_s"]
    if isinstance(axes.figure, Figure):
        axes.figure.set_size_inches(7.2, 1 + 0.2 * len(heal_s))
    medians = [statistics.median(seconds) for seconds in heal_s.values()]
    worst = [max(seconds) for seconds in heal_s.values()]
    axes.hlines(range(len(heal_s)), medians, worst, color=THEIRS)
    axes.plot(worst, range(len(heal_s)), "|", color=THEIRS, label="worst")
    axes.plot(medians, range(len(heal_s)), "o", color=OURS, markersize=4, label="median")
    axes.set_yticks(range(len(heal_s)), list(heal_s))
    axes.invert_yaxis()
    axes.set_xlim(left=0)
    axes.set_xlabel("s from the end of the fault until the row is right")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)


def fuzz(axes: Axes, figures: Figures) -> None:
    """Answers by status."""
    answers = figures["answers_by_status"]
    colours = [THIRD if status >= "500" else OURS for status in answers]
    axes.bar_label(
        axes.barh(list(answers), answers.values(), color=colours), fmt="{:,.0f}", padding=3
    )
    axes.set_xscale("log")
    axes.margins(x=0.12)
    axes.invert_yaxis()
    axes.set_ylabel("HTTP status")
    axes.set_xlabel("answers, on a logarithmic scale")


def hostile(axes: Axes, figures: Figures) -> None:
    """Milliseconds of honest photographs, sorted: among hostile files, and without them."""
    for colour, (name, ms) in zip((THEIRS, OURS), figures["percentiles_ms"].items(), strict=True):
        axes.plot(range(len(ms)), ms, color=colour, label=name)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("% of the photographs")
    axes.set_ylabel("ms at most")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)


def renditions(axes: Axes, figures: Figures) -> None:
    """Processor milliseconds of each rendition: ours beside others'."""
    files = {what: ms for what, ms in figures["processor_ms"].items() if len(ms) > 1}
    ways = list(files["all"])
    for index, way in enumerate(ways):
        places = [place + 0.27 * (index - (len(ways) - 1) / 2) for place in range(len(files))]
        colour = (OURS, THEIRS, THIRD)[index]
        bars = axes.barh(places, [ms[way] for ms in files.values()], 0.25, color=colour, label=way)
        axes.bar_label(bars, fmt="%.0f", padding=3)
    axes.set_yticks(range(len(files)), list(files))
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xlabel(f"processor ms for a cut-out of {figures['megapixels']:g} megapixels")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)


def slowdown(axes: Axes, figures: Figures) -> None:
    """Images per second before, while, and just after S3 throttles one request in fifty."""
    rates = {
        "before": figures["images_per_s"],
        "throttled": figures["images_per_s_throttled"],
        "5 s after": figures["images_per_s_in_the_5_s_after"],
    }
    bars = axes.barh(list(rates), list(rates.values()), color=[THEIRS, OURS, THEIRS])
    axes.bar_label(bars, fmt="%.1f", padding=3)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xlabel("images per second")


# In the order of the page.
PLOTS: Mapping[str, Callable[[Axes, Figures], None]] = {
    plot.__name__: plot
    for plot in (
        throughput,
        storm,
        slowdown,
        scale,
        image_path,
        renditions,
        edges,
        network,
        faults,
        fuzz,
        hostile,
    )
}
