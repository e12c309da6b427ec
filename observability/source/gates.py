"""The dashboard of what the gates did, and why they ended as they did."""

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.models.dashboard import Dashboard

from observability.source.panels import (
    DATA,
    counted,
    figure,
    label_variable,
    listing,
    new_board,
    over_time,
    quantile,
    query,
)

_GATE = 'namespace=~"$namespace",rollout=~"$rollout"'
_REFUSALS = "ScopeRefused|PolicyRefused|InvalidConfig|Denied|NameTaken|Unavailable"

ANNOTATIONS = (
    (
        "Chaos gate ended",
        f"rollouts_chaos_gate_last_completion_timestamp_seconds{{{_GATE}}} * 1000",
        "chaos gate {{verdict}}",
        "{{namespace}}/{{rollout}}",
    ),
    (
        "Chaos gate began",
        (
            "min by (namespace, kind, stage) "
            '(rollouts_chaos_gates_active_oldest_start_timestamp_seconds{namespace=~"$namespace"}) * 1000'
        ),
        "chaos gate began",
        "{{namespace}} {{kind}}",
    ),
)
"""Name, query, title and text: a sample's value is the moment, so they fit into any dashboard."""


def gates() -> Dashboard:
    """What the gates did, and why they ended as they did."""
    board = new_board("chaosplugin-gates", "Chaos gates", "Gates that inject faults into canaries")
    board.with_variable(label_variable("namespace", "rollouts_chaos_gates_total", "namespace"))
    board.with_variable(
        label_variable("rollout", 'rollouts_chaos_gates_total{namespace=~"$namespace"}', "rollout")
    )
    for name, expr, *_ in ANNOTATIONS:
        annotation = dashboard.AnnotationQuery().name(name).datasource(DATA).enable(True)
        board.annotation(annotation.icon_color("orange").expr(expr))
    total = f"rollouts_chaos_gates_total{{{_GATE}}}"
    good = f'rollouts_chaos_gates_total{{{_GATE},verdict="successful"}}'
    for window, words in (("24h", "a day"), ("7d", "a week")):
        board.with_panel(
            figure(
                f"Passed, {window}",
                f"Share of the gates of {words} that the canary survived",
                f"sum(increase({good}[{window}])) / (sum(increase({total}[{window}])) > 0)",
                unit="percentunit",
            )
        )
    board.with_panel(figure("Gates, 24h", "Gates that ended within a day", f"sum(increase({total}[24h]))"))
    board.with_panel(
        figure(
            "Under way",
            "Gates without a verdict, or still cleaned up; replicas show the same ones",
            "sum(max by (namespace, kind, stage) (rollouts_chaos_gates_active))",
        )
    )
    board.with_panel(
        figure(
            "Left over",
            "Experiments whose deletion does not come to its end: a fault may still be on",
            "max(rollouts_chaos_leftover_experiments)",
        )
    )
    board.with_panel(
        figure(
            "Oldest",
            "Age of the oldest gate under way",
            "max(time() - rollouts_chaos_gates_active_oldest_start_timestamp_seconds)",
            unit="s",
        )
    )
    board.with_panel(
        over_time(
            "Gate outcomes",
            "Gates by verdict",
            [counted("gates_total", "verdict", legend="{{verdict}}", matchers=_GATE)],
            bars=True,
        )
    )
    board.with_panel(
        over_time(
            "Why gates did not pass",
            "The ten commonest reasons over the range shown",
            [
                query(
                    "topk(10, sum by (reason) (increase("
                    f'rollouts_chaos_gates_total{{{_GATE},verdict!="successful"}}[$__range])))',
                    "{{reason}}",
                )
            ],
        )
    )
    active = 'rollouts_chaos_gates_active{namespace=~"$namespace"}'
    began = 'rollouts_chaos_gates_active_oldest_start_timestamp_seconds{namespace=~"$namespace"}'
    board.with_panel(
        listing(
            "Gates under way",
            "How many, and since when the oldest of them",
            [
                query(f"max by (namespace, kind, stage) ({active})", instant=True),
                query(f"max by (namespace, kind, stage) (time() - {began})", instant=True),
            ],
            unit="short",
        )
    )
    board.with_panel(
        listing(
            "Last gate of each Rollout",
            "Seconds since its last gate of each verdict; a row leads to its traces",
            [
                query(
                    "min by (namespace, rollout, verdict) "
                    f"(time() - rollouts_chaos_gate_last_completion_timestamp_seconds{{{_GATE}}})",
                    instant=True,
                )
            ],
            unit="s",
        )
    )
    board.with_panel(
        over_time(
            "How long gates take",
            "From the call of Run to the verdict, over an hour",
            [quantile(rank, "gate_duration_seconds", "kind") for rank in (50, 95)],
            unit="s",
        )
    )
    board.with_panel(
        over_time(
            "Injection and recovery, p95",
            "From the create until all targets were hit; from the fault's end until the canary was as before",
            [
                quantile(95, "injection_duration_seconds", "kind", "injection of "),
                quantile(95, "recovery_duration_seconds", "kind", "recovery from "),
            ],
            unit="s",
        )
    )
    board.with_panel(
        over_time(
            "Steady state",
            "Judged before, during and after the fault; no_data: there was nothing to judge by",
            [counted("steady_state_checks_total", "stage", "result", legend="{{stage}}: {{result}}")],
            bars=True,
        )
    )
    board.with_panel(
        over_time(
            "Targets",
            "Pods or containers that Chaos Mesh selected",
            [counted("targets_total", "result", legend="{{result}}")],
            bars=True,
        )
    )
    board.with_panel(
        over_time(
            "Refused before a fault",
            "Gates that ended in Error, or were refused for their scope, by reason",
            [
                counted(
                    "gates_total",
                    "reason",
                    legend="{{reason}}",
                    matchers=f'{_GATE},reason=~"{_REFUSALS}"',
                )
            ],
            bars=True,
        )
    )
    board.with_panel(
        over_time(
            "Clean-up",
            "Experiments removed, and those that could not be",
            [
                counted("cleanups_total", "result", "trigger", legend="{{result}} ({{trigger}})"),
                query("max(rollouts_chaos_leftover_experiments)", "left over"),
            ],
            bars=True,
        )
    )
    board.with_panel(
        over_time(
            "Rollouts beside it",
            "Argo Rollouts' own view, where its controller is scraped",
            [query('sum by (phase) (rollout_info{namespace=~"$namespace"})', "{{phase}}")],
        )
    )
    board.with_panel(
        over_time(
            "Chaos Mesh beside it",
            "Chaos Mesh's own view, where its controller manager is scraped",
            [
                query(
                    "sum by (kind, phase) "
                    '(chaos_controller_manager_chaos_experiments{namespace=~"$namespace"})',
                    "{{kind}} {{phase}}",
                )
            ],
        )
    )
    return board.build()
