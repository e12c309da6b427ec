"""The dashboard of the plugin's health."""

from typing import TYPE_CHECKING

from grafana_foundation_sdk.models.dashboard import Dashboard

from observability.source.panels import counted, figure, new_board, over_time, quantile, query

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders import prometheus


def plugin() -> Dashboard:
    """Whether the plugin is healthy."""
    board = new_board("chaosplugin-health", "Chaos plugin", "Health of the plugin's process")
    board.with_panel(figure("Processes", "Plugins that are scraped", "count(rollouts_chaos_build_info)"))
    board.with_panel(
        figure(
            "Up for",
            "Since the youngest began",
            "min(time() - process_start_time_seconds)",
            unit="s",
        )
    )
    board.with_panel(
        figure("Memory", "Resident, of the largest", "max(process_resident_memory_bytes)", unit="bytes")
    )
    board.with_panel(figure("CPU", "Of the busiest, in cores", "max(rate(process_cpu_seconds_total[5m]))"))
    board.with_panel(figure("Open files", "Of the process with the most", "max(process_open_fds)"))
    board.with_panel(
        figure(
            "Loop stalled for",
            "Longest since the last scrape; 30 s are death",
            "max(rollouts_chaos_event_loop_lag_seconds)",
            unit="s",
        )
    )
    rows: tuple[tuple[str, str, list[prometheus.Dataquery], str, bool], ...] = (
        (
            "Calls of Argo Rollouts",
            "By method and answer",
            [
                query(
                    "sum by (method, result) (rate(rollouts_chaos_rpc_requests_total[$__rate_interval]))",
                    "{{method}}: {{result}}",
                )
            ],
            "reqps",
            False,
        ),
        (
            "Calls of Argo Rollouts, p99",
            "Time in this process, less decoding",
            [quantile(99, "rpc_duration_seconds", "method", window="5m")],
            "s",
            False,
        ),
        (
            "Requests to the API server",
            "By verb and status; none: no answer",
            [
                query(
                    "sum by (verb, code) (rate(rollouts_chaos_kube_requests_total[$__rate_interval]))",
                    "{{verb}} {{code}}",
                )
            ],
            "reqps",
            False,
        ),
        (
            "Requests to the API server, p95",
            "Until the headers of the answer",
            [quantile(95, "kube_request_duration_seconds", "verb", window="5m")],
            "s",
            False,
        ),
        (
            "Watch streams",
            "Those that are wanted",
            [query("sum by (resource) (rollouts_chaos_watch_streams)", "{{resource}}")],
            "short",
            False,
        ),
        (
            "Watch streams last heard of",
            "Age of the last line of the quietest stream; bookmarks come about once a minute",
            [
                query(
                    "max by (resource) (time() - rollouts_chaos_watch_last_event_timestamp_seconds)",
                    "{{resource}}",
                )
            ],
            "s",
            False,
        ),
        (
            "Watch streams taken up again",
            "By reason; end: the server ended it as agreed",
            [counted("watch_restarts_total", "resource", "reason", legend="{{resource}}: {{reason}}")],
            "short",
            True,
        ),
        (
            "Gates taken over",
            "Begun by an earlier process, and what this one found",
            [counted("adoptions_total", "outcome", legend="{{outcome}}")],
            "short",
            True,
        ),
        (
            "Protocol errors",
            "Warnings of the layers that speak to Argo Rollouts",
            [counted("protocol_errors_total", "layer", legend="{{layer}}")],
            "short",
            True,
        ),
        (
            "Spans",
            "Sent to the collector, refused by it, or dropped as the queue was full",
            [query("sum by (result) (rate(rollouts_chaos_spans_total[$__rate_interval]))", "{{result}}")],
            "cps",
            False,
        ),
    )
    for title, text, queries, unit, bars in rows:
        board.with_panel(over_time(title, text, queries, unit=unit, bars=bars))
    return board.build()
