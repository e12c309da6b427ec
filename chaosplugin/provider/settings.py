"""What the operator sets, by the plugin's `args` in argo-rollouts-config and the environment."""

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from chaosplugin.core.policy import Policy


class Metrics(NamedTuple):
    """Where metrics, health and the list of runs are served, and to whom."""

    host: str
    port: int
    certificate: str | None
    """a file; None: without TLS"""
    key: str | None
    token: str | None
    """a file that holds the token which is asked for; None: none is"""


class Traces(NamedTuple):
    """Of the standard variables OTEL_*, what is not left to OpenTelemetry's SDK itself."""

    exporter: str
    """otlp or console"""
    protocol: str
    """of OTLP: grpc or http/protobuf"""
    most_waiting: int
    """spans that wait to be sent; more are dropped"""
    batch: int
    """spans that are sent at once, at most `most_waiting`"""


class Settings(NamedTuple):
    """Read by the command line before the handshake, so nothing is imported for it."""

    policy: "Policy"
    kubeconfig: str | None
    """None: the cluster that we run in"""
    log_level: str
    kube_api_qps: float = 50.0
    """requests per second to each API server, at most"""
    metrics: Metrics | None = None
    """None: metrics are neither kept nor served"""
    traces: Traces | None = None
    """None: nothing is traced"""
    grpc: bool = False
    """go-plugin's gRPC mode, for hosts other than Argo Rollouts"""
