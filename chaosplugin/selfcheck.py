"""`chaosplugin --self-check`: what a gate needs, tried where it would run; with the line that mends it.

Loads every module, makes a socket, asks the API server for its experiments, and reviews each right of ours.
"""

import importlib
import pkgutil
import platform
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import anyio

import chaosplugin
from chaosplugin.app import now
from chaosplugin.core.kinds import KINDS
from chaosplugin.kube.client import KubernetesCluster
from chaosplugin.kube.clusters import open_clusters
from chaosplugin.kube.errors import NoCluster
from chaosplugin.provider.ports import Access, ClusterError, Denied, NotFound
from chaosplugin.transport.listener import CannotListenError, listen

_CHAOS, _ARGO = "chaos-mesh.org", "argoproj.io"
_WATCH = ("get", "list", "watch")
_UPSTREAM = "apply the install manifest of Argo Rollouts anew: its ClusterRole argo-rollouts has it"
_WITHOUT = " (without it verdicts wait up to 15 s to be asked for, and gates take no turns on a canary)"
_PATCHING = _UPSTREAM + _WITHOUT
_OF_GATES = "kubectl apply -k deploy/gates (without it a server serves AnalysisRuns only)"

Right = tuple[str, Access]
"""With what grants it"""


@dataclass(frozen=True, slots=True)
class Finding:
    """`mend` is what to do; empty where all is well."""

    text: str
    mend: str = ""

    def lines(self) -> str:
        if self.mend:
            return f"MISSING  {self.text}\n         {self.mend}\n"
        return f"ok       {self.text}\n"


def run(environ: Mapping[str, str], kubeconfig: str | None, namespace: str, *, server: bool) -> int:
    """Print the findings for one namespace, "" for all of them; 0 if nothing is missing.

    `environ` names the folders for a socket. `server`: of what `chaosplugin serve` wants, who has nothing
    from upstream.
    """
    rights = wanted_by_server(namespace) if server else wanted(namespace)
    missing = sum(map(_told, (_modules(), _sockets(environ))))
    missing += anyio.run(_report, kubeconfig, namespace, list(rights), backend="asyncio")
    return 1 if missing else 0


async def _report(kubeconfig: str | None, namespace: str, rights: Sequence[Right]) -> int:
    missing = 0
    try:
        async with open_clusters(kubeconfig, clock=now) as clusters:
            async for finding in _cluster(await clusters.home(), namespace, rights):
                missing += _told(finding)
    except NoCluster as error:
        missing += _told(Finding(str(error), "run it in the controller's pod, or set --kubeconfig"))
    return missing


def _told(finding: Finding) -> bool:
    sys.stdout.write(finding.lines())
    sys.stdout.flush()
    return bool(finding.mend)


# -- this machine


def _modules() -> Finding:
    names = [found.name for found in pkgutil.walk_packages(chaosplugin.__path__, "chaosplugin.")]
    for name in names:
        if not name.endswith("__main__"):
            importlib.import_module(name)
    version = f"chaosplugin {chaosplugin.__version__}, Python {platform.python_version()}"
    return Finding(f"{version}, {platform.machine()}: {len(names)} modules load")


def _sockets(environ: Mapping[str, str]) -> Finding:
    """Listen where the plugin would."""
    try:
        listener = listen(environ)
    except CannotListenError as error:
        return Finding(str(error), "mount an emptyDir at /tmp, or set TMPDIR")
    listener.close()
    return Finding(f"a socket can be made in {Path(listener.path).parent.parent}")


# -- the cluster


async def _cluster(
    home: KubernetesCluster, namespace: str, rights: Sequence[Right]
) -> AsyncIterator[Finding]:
    try:
        yield await _served(home, namespace)
        async for finding in _rights(home, namespace, rights):
            yield finding
        if await home.origin():
            yield Finding("the uid of namespace kube-system can be read")
        else:
            mend = (
                "kubectl apply -k deploy/identity (without it everything works but the sweep for leftovers)"
            )
            yield Finding("the uid of namespace kube-system cannot be read", mend)
    except ClusterError as error:
        yield Finding(str(error), "see that the API server can be reached from here, and who we are to it")


async def _served(home: KubernetesCluster, namespace: str) -> Finding:
    missing = []
    for kind in KINDS.values():
        try:
            await home.list_chaos(kind.name, namespace, "chaosplugin.io/run=none")
        except NotFound:
            missing.append(kind.plural)
        except Denied:
            pass  # the review of rights tells it
    if missing:
        return Finding(
            f"the API server has no {_words(missing)} of {_CHAOS}", "install Chaos Mesh 2, with its CRDs"
        )
    return Finding(f"the API server has the {len(KINDS)} kinds of experiments")


def wanted(namespace: str) -> Iterator[Right]:
    """Yield each right that a gate wants, with what grants it."""
    ours = f"kubectl apply -k deploy/{'namespace' if namespace else 'cluster'}"
    # Chaos Mesh's admission asks by the kind's name, which is not always its plural
    for plural in dict.fromkeys(name for kind in KINDS.values() for name in (kind.plural, kind.name.lower())):
        for verb in (*_WATCH, "create", "update", "patch", "delete"):
            yield ours, Access(verb, _CHAOS, plural, namespace)
    yield ours, Access("list", _CHAOS, "workflownodes", namespace)
    for verb in ("list", "watch"):
        yield ours, Access(verb, "", "events", namespace)
        yield _UPSTREAM, Access(verb, "", "pods", namespace)
    for verb in ("create", "patch"):
        yield _UPSTREAM, Access(verb, "", "events", namespace)
    for verb in _WATCH:
        yield _UPSTREAM, Access(verb, "apps", "replicasets", namespace)
        for plural in ("rollouts", "experiments", "analysisruns"):
            yield _UPSTREAM, Access(verb, _ARGO, plural, namespace)
    yield _PATCHING, Access("patch", _ARGO, "analysisruns", namespace)


def wanted_by_server(namespace: str) -> Iterator[Right]:
    """Yield each right that a server with an account of its own wants, with what grants it.

    That on the Lease is wanted in the server's own namespace only, and tried there by the server itself.
    """
    ours = "kubectl apply -k deploy/server"
    for mend, access in wanted(namespace):
        yield (f"{ours}{_WITHOUT}" if mend == _PATCHING else ours), access
    yield ours, Access("create", "authentication.k8s.io", "tokenreviews", "")
    if namespace:
        for verb in (*_WATCH, "create", "patch", "delete"):
            yield _OF_GATES, Access(verb, "", "configmaps", namespace)


async def _rights(home: KubernetesCluster, namespace: str, rights: Sequence[Right]) -> AsyncIterator[Finding]:
    where = f"namespace {namespace}" if namespace else "all namespaces"
    refused: dict[tuple[str, str], list[str]] = defaultdict(list)
    for mend, access in rights:
        if not await home.allowed(access):
            refused[mend, access.verb].append(access.resource)
    for (mend, verb), plurals in refused.items():
        yield Finding(f"in {where} we may not {verb} {_words(plurals)}", mend)
    if not refused:
        yield Finding(f"in {where} we have every right that a gate wants")


def _words(names: Iterable[str]) -> str:
    return ", ".join(names)
