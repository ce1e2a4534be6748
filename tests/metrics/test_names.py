"""Dashboard, alert rules and document use the metrics that exist, with their labels and the values these have."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from conch_pipe.metrics.catalogue import METRICS

ROOT = Path(__file__).parents[2]
DASHBOARD = ROOT / "etc" / "grafana" / "pipe-sftp.json"
RULES = ROOT / "etc" / "alerts" / "pipe-sftp.yml"
GUIDE = ROOT / "docs" / "monitoring.md"

# What the library tells of the process, and Prometheus of its scrapes.
OTHERS = {
    "process_cpu_seconds_total",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_virtual_memory_bytes",
}
SCRAPED = {"up"}
ATTACHED = {"instance", "job"}  # to every series, by Prometheus
WORDS = {
    *("and", "unless", "by", "sum", "min", "max", "rate", "increase", "changes"),
    *("histogram_quantile", "predict_linear", "time"),
}


def dashboard_expressions() -> Iterator[str]:
    document = json.loads(DASHBOARD.read_text())
    for panel in document["panels"]:
        yield from (target["expr"] for target in panel.get("targets", []))
    yield from (note["expr"] for note in document["annotations"]["list"] if "expr" in note)
    for variable in document["templating"]["list"]:
        if variable["type"] == "query":
            selected, label = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"]).groups()
            yield f"sum by ({label}) ({selected})"


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


EXPRESSIONS = [*dashboard_expressions(), *(rule["expr"] for rule in rules())]


def series(expression: str) -> list[tuple[str, list[tuple[str, str, str]]]]:
    """Each selector: its name, and (label, operator, value) of its matchers."""
    found = []
    for name, matchers in re.findall(r"\b([a-z][a-z0-9_]*[a-z])(?![\w(])(?:\{([^}]*)\})?", _bare(expression)):
        if name not in WORDS:
            found.append((name, re.findall(r'(\w+)(=~|!~|!=|=)"([^"]*)"', matchers)))
    return found


def grouping(expression: str) -> set[str]:
    return {label for labels in re.findall(r"\bby \(([^)]*)\)", expression) for label in labels.split(", ")}


def _bare(expression: str) -> str:
    """Without times and the lists of labels after "by"."""
    return re.sub(r"\bby \([^)]*\)|\[[^]]*\]", "", expression)


def metric_of(name: str) -> tuple[str, set[str]]:
    """The metric behind a series, and labels that its kind adds."""
    base = re.sub(r"_(bucket|sum|count)$", "", name)
    if base in METRICS and METRICS[base].kind == "histogram":
        return base, {"le"} if name.endswith("_bucket") else set()
    return name, set()


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_an_expression_names_what_exists(expression):
    known: set[str] = set()
    selectors = series(expression)
    assert selectors
    for name, matchers in selectors:
        metric, more = metric_of(name)
        if metric in OTHERS | SCRAPED:
            labels, values = set(), {}
        else:
            labels, values = set(METRICS[metric].labels), METRICS[metric].values
            assert METRICS[metric].kind != "histogram" or metric != name, f"{name} alone is no series"
        labels |= more | ATTACHED
        known |= labels
        for label, operator, value in matchers:
            assert label in labels, f"{name} has no label {label}"
            if label in values and not value.startswith("$"):
                wanted = value.split("|") if operator in ("=~", "!~") else [value]
                assert set(wanted) <= set(values[label]), f"{label} of {name} is never {value}"
    assert grouping(expression) <= known


def test_the_reader_of_expressions_finds_what_is_in_them():
    buckets = 'sum by (le) (rate(pipe_a_bucket{x="1",y=~"a|b"}[$__rate_interval]))'
    expression = f"histogram_quantile(0.99, {buckets})\n > 2 and up == 0"

    assert series(expression) == [("pipe_a_bucket", [("x", "=", "1"), ("y", "=~", "a|b")]), ("up", [])]
    assert grouping(expression) == {"le"}


def test_the_dashboard_is_one_that_grafana_takes():
    document = json.loads(DASHBOARD.read_text())
    panels = document["panels"]

    assert document["schemaVersion"] >= 38
    assert document["id"] is None
    assert [panel["title"] for panel in panels if panel["type"] == "row"] == [
        "Overview", "Ingest", "Push", "Doors", "Machine",
    ]  # fmt: skip
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, f"{panel['title']} covers another panel"
        assert place["x"] + place["w"] <= 24
        taken |= cells
        assert panel["type"] == "row" or panel["description"]
        assert all(target["datasource"]["uid"] == "${datasource}" for target in panel.get("targets", []))


def test_every_alert_has_a_section_that_says_what_to_do():
    text = GUIDE.read_text()
    headings = re.findall(r"^### (PipeSftp\w+)$", text, re.M)

    assert headings == [rule["alert"] for rule in rules()]
    for rule in rules():
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["annotations"]["runbook"] == f"docs/monitoring.md#{rule['alert'].lower()}"
        assert rule["annotations"]["summary"] and rule["annotations"]["description"]


def test_the_document_lists_exactly_the_metrics_there_are():
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| ([^|]*) \| (.*) \|$", GUIDE.read_text(), re.M)
    told = {name: (kind, tuple(re.findall(r"`(\w+)`", labels)), text) for name, kind, labels, text in rows}

    ours = {name: (one.kind, one.labels, one.help) for name, one in METRICS.items()}
    assert {name: row for name, row in told.items() if name not in OTHERS} == ours
    assert {name for name in told if name not in ours} == OTHERS


def test_promtool_takes_the_rules_and_they_fire_when_they_should(tmp_path):
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed")
    trial = tmp_path / "rules.yml"
    trial.write_text((Path(__file__).parent / "rules.yml").read_text().replace("[RULES]", f"[{RULES}]"))

    for words in (["check", "rules", str(RULES)], ["test", "rules", str(trial)]):
        done = subprocess.run(["promtool", *words], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
