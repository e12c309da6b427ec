"""Panels of one look, and the frame of a dashboard.

The dashboards know two data sources by variables: Prometheus, and what holds the traces. Gates are few, so
their histograms are read over an hour.
"""

import json
from collections.abc import Iterable
from urllib.parse import quote

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, table, timeseries
from grafana_foundation_sdk.models.common import (
    GraphDrawStyle,
    LegendDisplayMode,
    LegendPlacement,
    StackingMode,
)
from grafana_foundation_sdk.models.dashboard import DashboardLinkType, DataSourceRef, VariableRefresh
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

DATA = DataSourceRef(type_val="prometheus", uid="$datasource")


def query(expr: str, legend: str = "__auto", *, instant: bool = False) -> prometheus.Dataquery:
    """One query; those over time carry exemplars, which lead to traces."""
    made = prometheus.Dataquery().datasource(DATA).expr(expr).legend_format(legend)
    if instant:
        return made.instant().format(PromQueryFormat.TABLE)
    return made.range().exemplar(True)


def over_time(
    title: str, text: str, queries: Iterable[prometheus.Dataquery], *, unit: str = "short", bars: bool = False
) -> timeseries.Panel:
    """Lines, or stacked bars for what is counted."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(text)
        .datasource(DATA)
        .unit(unit)
        .span(12)
        .height(8)
        .min(0)
        .legend(
            common.VizLegendOptions()
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(True)
        )
    )
    if bars:
        panel.draw_style(GraphDrawStyle.BARS).fill_opacity(80).stacking(
            common.StackingConfig().mode(StackingMode.NORMAL)
        )
    for number, each in enumerate(queries):
        panel.with_target(each.ref_id(chr(ord("A") + number)))
    return panel


def figure(title: str, text: str, expr: str, *, unit: str = "short") -> stat.Panel:
    """One number."""
    return (
        stat.Panel()
        .title(title)
        .description(text)
        .datasource(DATA)
        .unit(unit)
        .span(4)
        .height(4)
        .no_value("none")
        .with_target(query(expr).ref_id("A"))
    )


def listing(title: str, text: str, queries: Iterable[prometheus.Dataquery], *, unit: str) -> table.Panel:
    """A table of what is now."""
    panel = table.Panel().title(title).description(text).datasource(DATA).unit(unit).span(12).height(8)
    for number, each in enumerate(queries):
        panel.with_target(each.ref_id(chr(ord("A") + number)))
    return panel.data_links([_to_traces()])


def _to_traces() -> dashboard.DashboardLink:
    """From a row to the traces of its Rollout, in Explore."""
    panes = {
        "traces": {
            "datasource": "$traces",
            "queries": [
                {
                    "refId": "A",
                    "queryType": "search",
                    "service": "rollouts-plugin-metric-chaos-mesh",
                    "tags": 'rollouts.rollout.name="${__data.fields.rollout}"',
                }
            ],
            "range": {"from": "${__from}", "to": "${__to}"},
        }
    }
    text = quote(json.dumps(panes, separators=(",", ":")), safe="${}_.")
    return (
        dashboard.DashboardLink("Traces of its gates")
        .type(DashboardLinkType.LINK)
        .url(f"/explore?schemaVersion=1&panes={text}")
    )


def counted(metric: str, *labels: str, legend: str, matchers: str = "") -> prometheus.Dataquery:
    """The increase of a counter, by labels."""
    series = f"rollouts_chaos_{metric}{{{matchers}}}" if matchers else f"rollouts_chaos_{metric}"
    return query(f"sum by ({', '.join(labels)}) (increase({series}[$__rate_interval]))", legend)


def quantile(
    rank: int, metric: str, label: str, prefix: str = "", *, window: str = "1h"
) -> prometheus.Dataquery:
    """A quantile of a histogram over a window."""
    expr = (
        f"histogram_quantile({rank / 100:g}, "
        f"sum by (le, {label}) (rate(rollouts_chaos_{metric}_bucket[{window}])))"
    )
    return query(expr, f"{prefix}{{{{{label}}}}} p{rank}")


def new_board(uid: str, title: str, text: str) -> dashboard.Dashboard:
    """A dashboard without panels."""
    return (
        dashboard.Dashboard(title)
        .uid(uid)
        .description(text)
        .tags(["chaosplugin", "argo-rollouts", "chaos-mesh"])
        .time("now-6h", "now")
        .refresh("30s")
        .timezone("browser")
        .with_variable(dashboard.DatasourceVariable("datasource").label("Metrics").type("prometheus"))
        .with_variable(dashboard.DatasourceVariable("traces").label("Traces").type("jaeger").regex(""))
        .link(
            dashboard.DashboardLink("Chaos gates and plugin")
            .type(DashboardLinkType.DASHBOARDS)
            .tags(["chaosplugin"])
            .include_vars(True)
            .keep_time(True)
        )
    )


def label_variable(name: str, metric: str, label: str) -> dashboard.QueryVariable:
    """A variable of the values that a label has."""
    return (
        dashboard.QueryVariable(name)
        .label(name.capitalize())
        .datasource(DATA)
        .query(f"label_values({metric}, {label})")
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .include_all(True)
        .all_value(".*")
        .multi(True)
    )
