"""What the operator sets, by the plugin's `args` in argo-rollouts-config."""

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from chaosplugin.core.policy import Policy


class Settings(NamedTuple):
    """Read by the command line before the handshake, so nothing is imported for it."""

    policy: "Policy"
    kubeconfig: str | None
    """None: the cluster that we run in"""
    log_level: str
    kube_api_qps: float = 50.0
    """requests per second to each API server, at most"""
