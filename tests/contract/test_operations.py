"""docs/operations.md says what there is to see, and what is deployed asks for nothing else."""

import re
from pathlib import Path

from prometheus_client import Metric

import webhook.telemetry

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text("utf-8")


def metrics_of_the_code() -> dict[str, tuple[Metric, list[str]]]:
    """Return every metric of ours by the name that it is scraped under, with its labels."""
    found = {}
    for item in vars(webhook.telemetry).values():
        if hasattr(item, "describe") and hasattr(item, "_labelnames"):
            (metric,) = item.describe()
            name = f"{metric.name}_total" if metric.type == "counter" else metric.name
            found[name] = (metric, list(item._labelnames))
    return found


def test_the_page_lists_the_metrics_of_the_code() -> None:
    written = re.findall(r"^\| `(\w+)` \| (\w+) \| (.*?) \| (.*?) \|$", PAGE, re.MULTILINE)
    actual = [
        (
            name,
            metric.type,
            ", ".join(f"`{label}`" for label in labels) or "–",
            metric.documentation,
        )
        for name, (metric, labels) in metrics_of_the_code().items()
    ]
    assert written == actual
