"""docs/operations.md says what there is to see, and what is deployed asks for nothing else."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import Metric

import webhook.errors
import webhook.telemetry
from webhook.errors import Overloaded, ServiceFault, ShuttingDown, TemporarilyUnavailable

ROOT = Path(__file__).parents[2]
ALERTS = ROOT / "deploy" / "prometheus-alerts.yaml"
DASHBOARD = ROOT / "deploy" / "grafana-dashboard.json"
NO_METRICS = {"and", "count", "histogram_quantile", "min_over_time", "or"}
NO_METRICS |= {"rate", "sum", "vector"}
OF_THE_CLIENT_LIBRARY = {"process_resident_memory_bytes"}
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


def series_of_the_code() -> set[str]:
    found = set()
    for name, (metric, _labels) in metrics_of_the_code().items():
        parts = ("_bucket", "_sum", "_count") if metric.type == "histogram" else ("",)
        found |= {name + part for part in parts}
    return found


def series_in(query: str) -> set[str]:
    """Return the names of the series that a query reads."""
    rest = re.sub(r"\{[^}]*\}|\[[^]]*\]|\b(by|on) *\([^)]*\)", " ", query)
    return set(re.findall(r"[a-z_][a-z0-9_]*", rest)) - NO_METRICS


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    return found


def queries_of_the_dashboard() -> list[str]:
    return [target["expr"] for panel in panels() for target in panel["targets"]]


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(ALERTS.read_text("utf-8"))["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def test_what_is_deployed_reads_only_what_is_written() -> None:
    known = series_of_the_code() | OF_THE_CLIENT_LIBRARY
    queries = [*queries_of_the_dashboard(), *(rule["expr"] for rule in rules())]
    assert len(queries) > 15
    for query in queries:
        assert series_in(query), query
        assert series_in(query) <= known, query


def test_the_dashboard_shows_every_metric() -> None:
    shown = set().union(*map(series_in, queries_of_the_dashboard()))
    for name, (metric, _labels) in metrics_of_the_code().items():
        part = "_bucket" if name.endswith("_seconds") else "_sum"
        assert (name + part if metric.type == "histogram" else name) in shown


def test_the_dashboard_can_be_imported() -> None:
    ids = [panel["id"] for panel in panels()]
    assert len(set(ids)) == len(ids)
    written = json.loads(DASHBOARD.read_text("utf-8"))
    variables = {variable["name"] for variable in written["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", DASHBOARD.read_text("utf-8")))
    assert used - {"__all", "__rate_interval"} == variables
    for panel in panels():
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        assert panel["datasource"]["uid"] == "${datasource}"


def test_a_failure_is_an_outage_or_a_fault_of_ours() -> None:
    failures = {
        item.code
        for item in vars(webhook.errors).values()
        if isinstance(item, type)
        and issubclass(item, TemporarilyUnavailable | ServiceFault)
        and hasattr(item, "code")
        and item not in (Overloaded, ShuttingDown)  # these have an end of their own
    }
    queries = [*queries_of_the_dashboard(), *(rule["expr"] for rule in rules())]
    named = [set(found.split("|")) for q in queries for found in re.findall(r'code=~"(.*?)"', q)]
    assert named == [failures, failures]


@pytest.fixture(scope="session")
def promtool(pytestconfig: pytest.Config) -> str:
    """Find Prometheus' own checker, or take it out of Debian's package without installing that."""
    assert pytestconfig.cache is not None
    folder = pytestconfig.cache.mkdir("promtool")
    program = folder / "usr" / "bin" / "promtool"
    if found := shutil.which("promtool"):
        return found
    if not program.exists():
        commands = [["apt-get", "download", "prometheus"]]
        if os.geteuid() == 0:
            commands.append(["apt-get", "update"])
            commands.append(commands[0])
        for command in commands:
            if list(folder.glob("*.deb")):
                break
            run_quietly(command, folder)
        for package in folder.glob("*.deb"):
            extract = f"dpkg-deb --fsys-tarfile '{package.name}' | tar -x ./usr/bin/promtool"
            run_quietly(["sh", "-c", extract], folder)
            package.unlink()
    if not program.exists():
        pytest.skip("PROMTOOL IS MISSING: the alerts are NOT checked (apt-get install prometheus)")
    return str(program)


def run_quietly(command: list[str], folder: Path) -> None:
    """Run what may fail: the machine may be another than Debian, or have no network."""
    try:
        subprocess.run(command, cwd=folder, capture_output=True, timeout=120, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return


def test_prometheus_takes_the_rules_and_the_queries(promtool: str, tmp_path: Path) -> None:
    queries = [query.replace("$__rate_interval", "5m") for query in queries_of_the_dashboard()]
    as_rules = [{"record": f"query:{i}", "expr": query} for i, query in enumerate(queries)]
    dashboard = tmp_path / "dashboard.yaml"
    dashboard.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": as_rules}]}))
    told = subprocess.run(
        [promtool, "check", "rules", ALERTS, dashboard], capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stderr
    assert "3 rules found" in told.stdout


def test_the_alerts_fire_when_they_should_and_only_then(promtool: str) -> None:
    cases = ROOT / "tests" / "data" / "prometheus-alerts.test.yaml"
    told = subprocess.run(
        [promtool, "test", "rules", cases], capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stdout + told.stderr
