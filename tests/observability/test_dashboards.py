"""The dashboards are what their source makes, and ask only for what there is."""

import json
import re
from collections.abc import Iterator

import pytest
import yaml
from grafana_foundation_sdk.models.dashboard import Dashboard
from prometheus_client import Metric

from chaosplugin.telemetry.families import Families
from observability.source.__main__ import FOLDER, all_dashboards
from tests.observability.queries import FOLDER as SOURCE
from tests.observability.queries import expressions, rules

_SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum"), "info": ("_info",)}


@pytest.mark.parametrize("name", sorted(all_dashboards()))
def test_the_committed_file_is_what_the_source_makes(name: str) -> None:
    assert (FOLDER / name).read_text() == all_dashboards()[name], "run `make dashboards`"


@pytest.mark.parametrize("name", sorted(all_dashboards()))
def test_the_sdk_reads_the_file_as_a_dashboard(name: str) -> None:
    fields = json.loads((FOLDER / name).read_text())
    board = Dashboard.from_json(fields)

    assert board.title == fields["title"]
    assert len(board.panels or ()) == len(fields["panels"])
    assert all(panel["description"] for panel in fields["panels"])


def _names() -> set[str]:
    def of(metric: Metric) -> Iterator[str]:
        yield from (metric.name + suffix for suffix in _SUFFIXES.get(metric.type, ("",)))

    return {name for metric in Families().registry.collect() for name in of(metric)}


def test_panels_and_rules_ask_only_for_metrics_that_there_are() -> None:
    asked = {
        word
        for expr in [*expressions(), *rules("record").values(), *rules("alert").values()]
        for word in re.findall(r"\b(?<!:)(?:rollouts_chaos|process)_\w+(?!:)\b", expr)
    }

    assert asked <= _names()
    assert len(asked) > 20


def test_each_alert_has_a_case_in_which_it_fires_and_is_silent_on_a_healthy_day() -> None:
    alerts = rules("alert")
    cases = yaml.safe_load((SOURCE / "rules_test.yaml").read_text())["tests"]
    fired = {t["alertname"] for case in cases for t in case["alert_rule_test"] if t.get("exp_alerts")}
    silent = {t["alertname"] for t in cases[0]["alert_rule_test"] if not t.get("exp_alerts")}

    assert fired == alerts.keys()
    assert silent == alerts.keys()
    assert not any("absent" in expr for expr in alerts.values())
