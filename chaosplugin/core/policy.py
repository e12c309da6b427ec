"""What the operator of the controller has allowed, by the plugin's arguments.

Users who write AnalysisTemplates choose the fault; only the operator can open the blast radius.
"""

from enum import StrEnum
from typing import NamedTuple


class Wake(StrEnum):
    """How the controller learns of a verdict; without either it is chosen by what RBAC allows."""

    PUSH = "push"
    POLL = "poll"


class Policy(NamedTuple):
    """Closed unless opened: each flag names what it opens (`--allow-...`).

    It is made before the handshake line, so nothing is imported for it.
    """

    allow_unowned: bool = False
    """an AnalysisRun that no Rollout or Experiment controls may gate"""
    allow_stable: bool = False
    """the stable pods may be hit"""
    allow_full_traffic: bool = False
    """a canary that carries all production traffic may be hit"""
    allow_cross_namespace: bool = False
    """the experiment may live, and hit, in another namespace than its AnalysisRun's"""
    allow_network_target: bool = False
    """NetworkChaos may write rules on the pods of `spec.target`"""
    allow_workflow_task: bool = False
    """a Workflow may start pods of its own, in templates of type Task"""
    allow_status_check: bool = False
    """a Workflow may let Chaos Mesh send requests, in templates of type StatusCheck"""
    allow_endpoints: tuple[str, ...] = ()
    """hosts, or host:port, that chaosMeshEndpoint may name"""
    force_cleanup: bool = False
    """finalizers of an experiment that is stuck in its deletion may be removed"""
    wake: Wake | None = None
    claims: bool = False
    """gates let those of analyses go first (turns.py): set where gates have no analysis, by no argument"""

    def check_endpoint(self, host: str, port: int) -> None:
        """Allow a host of `--allow-endpoint`; without a port in the flag, on each port.

        Raises:
            PolicyRefused: the host is not among them.
        """
        from chaosplugin.core.refusal import PolicyRefused  # noqa: PLC0415 - after the handshake

        allowed = {entry.lower() for entry in self.allow_endpoints}
        if allowed.isdisjoint({host, f"{host}:{port}"}):
            raise PolicyRefused(
                f"chaosMeshEndpoint: host {host}:{port} is not allowed; the operator may allow it by the "
                f"plugin's argument --allow-endpoint {host}:{port}"
            )
