"""Do the dashboards and alerts that come along ask only for what the server has, and do the alerts fire?"""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.prometheus import prometheus
from tests.support.scrape import Scrape, read_scrape, scrape_after_turns
from tests.support.turn_records import a_record
from voicestack.core.queues import QueueReading
from voicestack.telemetry.exemplars import trace_id_of
from voicestack.telemetry.metrics import ChildReadings, Metrics

ROOT = Path(__file__).resolve().parents[2]
BOARDS = sorted((ROOT / "configs" / "grafana").glob("*.json"))
RULES = ROOT / "configs" / "prometheus" / "alerts.yml"
RULE_TESTS = sorted((ROOT / "tests" / "data").glob("alerts_*test.yml"))

SCHEMA_VERSION = 39
"""Grafana 10.2 and newer; older ones are migrated by Grafana itself."""
OF_PROMETHEUS = {"instance", "job"}
"""Labels that Prometheus adds to everything that it scrapes."""
PANELS = {"row", "stat", "timeseries", "heatmap", "table"}
COLUMNS = 24

_METRIC = re.compile(r"\b((?:voicestack|process)_\w+)(?:\{([^}]*)\})?")
_MATCHER = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
_GROUPED = re.compile(r"\b(?:by|on|group_left|without|ignoring)\s*\(([^)]*)\)")
_LEGEND = re.compile(r"\{\{\s*(\w+)\s*\}\}")


@dataclass
class Asked:
    """What a real Prometheus said while the server ran, to all queries of the dashboards and of exemplars."""

    answers: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    exemplars: list[dict[str, Any]] = field(default_factory=list)


@pytest.fixture(scope="module")
def asked() -> Asked:
    """Filled by `scrape`."""
    return Asked()


@pytest.fixture(scope="module")
def scrape(asked: Asked, tmp_path_factory: pytest.TempPathFactory) -> Scrape:
    """Of a real server. Labels of what has not happened in it are those of the same figures, fed by hand."""

    async def ask(port: int) -> None:
        async with prometheus(port, RULES, tmp_path_factory.mktemp("prometheus")) as one:
            # Two samples, or there is no rate.
            await one.until("count_over_time(voicestack_turn_response_seconds_count[1m]) > 2")
            for path in BOARDS:
                for title, target in targets(path):
                    asked.answers[f"{path.stem}: {title}"] = await one.query(plain(target["expr"]))
            asked.exemplars += await one.exemplars("voicestack_turn_response_seconds_bucket")

    found = scrape_after_turns(n_turns=1, then=ask)
    metrics = Metrics(version="1", profile="scripted")
    metrics.turn_recorded(a_record())
    metrics.stage_failed("llm", "stage_timeout")
    metrics.watch_refusals(lambda: {"rate_limit_exceeded": 1})
    metrics.watch_child("llm", ChildReadings(lambda: 0, lambda: True))
    reading = QueueReading("llm", n_waiting=1, n_busy=1, oldest_wait_ms=1.0, refused={"full": 1})
    metrics.queues.watch(lambda: [reading])
    metrics.engines.watch_figures("llm", lambda: {"queue_requests": 1.0, "requests_total": 1.0})
    for name, labels in read_scrape(metrics.render()[0].decode()).labels.items():
        if name in found.families:
            found.labels.setdefault(name, set()).update(labels)
    return found


def promtool(*arguments: str) -> str:
    """Run it; what it says. Fails the test where there is none: rules would go untested."""
    if shutil.which("promtool") is None:
        pytest.fail("promtool is missing: apt-get install prometheus    (`make test` does it as root)")
    done = subprocess.run(["promtool", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def board(path: Path) -> dict[str, Any]:
    found = json.loads(path.read_text())
    assert isinstance(found, dict)
    return found


def targets(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Title of the panel, and one of its queries."""
    for panel in board(path)["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target


def plain(expr: str) -> str:
    """A query as Grafana sends it."""
    expr = expr.replace("$__rate_interval", "1m").replace("$__range", "6h")
    return re.sub(r"\$\w+", ".*", expr)


def unknown_in(expr: str, scrape: Scrape) -> set[str]:
    """Metrics, and labels of metrics, that an expression names and the server does not have."""
    found, seen = set(), set()
    for name, matchers in _METRIC.findall(expr):
        if name not in scrape.families:
            found.add(name)
        labels = scrape.labels.get(name, set()) | OF_PROMETHEUS
        found |= {f"{name}{{{label}}}" for label in _MATCHER.findall(matchers) if label not in labels}
        seen |= labels
    for grouped in _GROUPED.findall(expr):
        found |= {label for label in re.findall(r"\w+", grouped) if label not in seen}
    return found


def test_there_are_dashboards() -> None:
    assert [path.stem for path in BOARDS] == ["budget", "capacity", "stages"]
    assert len({board(path)["uid"] for path in BOARDS}) == len(BOARDS)


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_a_dashboard_can_be_imported_anywhere(path: Path) -> None:
    found = board(path)
    assert found["schemaVersion"] == SCHEMA_VERSION
    assert "id" not in found, "an id of one Grafana"
    [source] = [one for one in found["templating"]["list"] if one["type"] == "datasource"]
    assert (source["name"], source["query"]) == ("datasource", "prometheus")
    named = {one["uid"] for one in _sources(found)}
    assert named == {"${datasource}", "-- Grafana --"}
    ids = [panel["id"] for panel in found["panels"]]
    assert len(set(ids)) == len(ids)
    assert {panel["type"] for panel in found["panels"]} <= PANELS
    variables = {one["name"] for one in found["templating"]["list"]}
    used = set(re.findall(r"\$\{?([a-z]\w*)", json.dumps(found))) - {"qryType"}
    assert used <= variables


def _sources(tree: Any) -> Iterator[dict[str, Any]]:
    if isinstance(tree, dict):
        if isinstance(tree.get("datasource"), dict):
            yield tree["datasource"]
        for value in tree.values():
            yield from _sources(value)
    if isinstance(tree, list):
        for value in tree:
            yield from _sources(value)


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_panels_say_what_they_show_and_lie_beside_each_other(path: Path) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in board(path)["panels"]:
        if panel["type"] != "row":
            assert panel["description"].endswith("."), panel["title"]
            assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= COLUMNS, panel["title"]
        assert not cells & taken, panel["title"]
        taken |= cells


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_a_dashboard_asks_only_for_what_the_server_has(path: Path, scrape: Scrape) -> None:
    unknown = {title: found for title, one in targets(path) if (found := unknown_in(one["expr"], scrape))}
    assert unknown == {}


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_legends_name_labels_that_the_query_leaves(path: Path, scrape: Scrape) -> None:
    for title, one in targets(path):
        grouped = {label for of in _GROUPED.findall(one["expr"]) for label in re.findall(r"\w+", of)}
        raw = scrape.labels.get(one["expr"].split("{")[0], set()) | OF_PROMETHEUS
        for label in _LEGEND.findall(one["legendFormat"]):
            assert label in (raw if "(" not in one["expr"] else grouped), (title, label)


def test_a_real_prometheus_can_compute_every_query(asked: Asked, scrape: Scrape) -> None:
    assert len(asked.answers) > 40
    [response] = asked.answers["budget: Response, median"]
    assert response["metric"] == {}
    for title in ("Sessions", "Processor", "Memory", "Calls"):
        assert asked.answers[f"capacity: {title}"], title


def test_a_real_prometheus_keeps_the_exemplars(asked: Asked, scrape: Scrape) -> None:
    found = [one["labels"] for series in asked.exemplars for one in series["exemplars"]]
    assert found
    for labels in found:
        assert labels["turn_id"].startswith("sess_")
        assert labels["trace_id"] == f"{trace_id_of(labels['turn_id']):032x}"


def test_every_query_is_promql(tmp_path: Path) -> None:
    """promtool reads the queries as recording rules."""
    rules = [
        {"record": f"q:{path.stem}:{number}", "expr": plain(one["expr"])}
        for path in BOARDS
        for number, (_, one) in enumerate(targets(path))
    ]
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    assert f"{len(rules)} rules found" in promtool("check", "rules", str(file))


def test_the_rules_are_rules() -> None:
    assert "SUCCESS" in promtool("check", "rules", str(RULES))
    promtool("check", "config", str(RULES.with_name("prometheus.yml")))


def test_the_alerts_fire_when_they_should() -> None:
    assert promtool("test", "rules", *map(str, RULE_TESTS)).count("SUCCESS") == 2


def test_every_alert_is_tested_to_fire() -> None:
    tested = [test for path in RULE_TESTS for test in yaml.safe_load(path.read_text())["tests"]]
    firing = {one["alertname"] for test in tested for one in test["alert_rule_test"] if one["exp_alerts"]}
    assert firing == {rule["alert"] for rule in _rules() if "alert" in rule}


def test_the_rules_ask_only_for_what_the_server_has(scrape: Scrape) -> None:
    unknown = {}
    for rule in _rules():
        # A recorded series has the labels that its rule groups by.
        expr = re.sub(r"slo:voicestack_burn:rate\w+", "voicestack_slo_turns_total", rule["expr"])
        if found := unknown_in(expr, scrape):
            unknown[rule.get("alert", rule.get("record"))] = found
    assert unknown == {}


def _rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


@pytest.mark.parametrize(
    ("expr", "unknown"),
    [
        ("rate(voicestack_turns_total[5m])", set()),
        ("rate(voicestack_turn_total[5m])", {"voicestack_turn_total"}),
        ('voicestack_turns_total{stage="x"}', {"voicestack_turns_total{stage}"}),
        ("sum by (le, stage) (voicestack_turns_total)", {"le", "stage"}),
        ("sum by (instance, outcome) (voicestack_turns_total)", set()),
    ],
)
def test_a_wrong_name_is_found(expr: str, unknown: set[str], scrape: Scrape) -> None:
    assert unknown_in(expr, scrape) == unknown
