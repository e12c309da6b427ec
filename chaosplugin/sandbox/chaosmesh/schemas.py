"""What the CRDs of Chaos Mesh allow in `spec`: fields, required ones, enums, bounds, defaults."""

from collections.abc import Mapping

from chaosplugin.sandbox.api.resources import CHAOS_KINDS, SCHEDULES, WORKFLOWS, Resource
from chaosplugin.sandbox.api.schema import Node, Schema

_TEXT = Node("string")
_NUMBER = Node("integer")
_COUNT = Node("integer", minimum=0)
_POSITIVE = Node("integer", minimum=1)
_TEXTS = Node("array", items=_TEXT)
_MAP = Node("object", items=_TEXT)
_DURATION = Node("string", pattern=r"^[0-9]+(\.[0-9]+)?(ns|us|ms|s|m|h)$")


def _enum(*values: str) -> Node:
    return Node("string", enum=values)


def _object(required: str = "", /, **fields: Node) -> Node:
    return Node("object", fields, required=frozenset(required.split()))


def _texts(*names: str) -> dict[str, Node]:
    return dict.fromkeys(names, _TEXT)


_MODE = _enum("one", "all", "fixed", "fixed-percent", "random-max-percent")
_REQUIREMENT = _object("key operator", key=_TEXT, operator=_TEXT, values=_TEXTS)
_SELECTOR = _object(
    **dict.fromkeys(("annotationSelectors", "fieldSelectors", "labelSelectors", "nodeSelectors"), _MAP),
    **dict.fromkeys(("namespaces", "nodes", "podPhaseSelectors"), _TEXTS),
    expressionSelectors=Node("array", items=_REQUIREMENT),
    pods=Node("object", items=_TEXTS),
)
_TARGET = {"mode": _MODE, "selector": _SELECTOR, "value": _TEXT}


def _pods(required: str, **fields: Node) -> Node:
    """Return the spec of a kind that aims at pods."""
    shared = _TARGET | {"duration": _TEXT, "remoteCluster": _TEXT}
    return _object(f"mode selector {required}", **shared, **fields)


def _containers(required: str, **fields: Node) -> Node:
    """Return the spec of a kind that aims at containers."""
    return _pods(required, containerNames=_TEXTS, **fields)


_TIME = _object("nsec sec", nsec=_NUMBER, sec=_NUMBER)
_SPECS: Mapping[str, Node] = {
    "PodChaos": _containers(
        "action", action=_enum("pod-kill", "pod-failure", "container-kill"), gracePeriod=_COUNT
    ),
    "NetworkChaos": _pods(
        "action",
        action=_enum("netem", "delay", "loss", "duplicate", "corrupt", "partition", "bandwidth"),
        bandwidth=_object(
            "buffer limit rate",
            buffer=_POSITIVE,
            limit=_POSITIVE,
            minburst=_COUNT,
            peakrate=_COUNT,
            rate=_TEXT,
        ),
        corrupt=_object("corrupt", **_texts("correlation", "corrupt")),
        delay=_object(
            "latency",
            correlation=_TEXT,
            jitter=_DURATION,
            latency=_DURATION,
            reorder=_object("gap reorder", correlation=_TEXT, gap=_NUMBER, reorder=_TEXT),
        ),
        device=_TEXT,
        direction=Node("string", enum=("to", "from", "both"), default="to"),
        duplicate=_object("duplicate", **_texts("correlation", "duplicate")),
        externalTargets=_TEXTS,
        loss=_object("loss", **_texts("correlation", "loss")),
        rate=_object("rate", rate=_TEXT),
        target=_object("mode selector", **_TARGET),
        targetDevice=_TEXT,
    ),
    "StressChaos": _containers(
        "",
        stressngStressors=_TEXT,
        stressors=_object(
            cpu=_object("workers", load=_COUNT, options=_TEXTS, workers=_NUMBER),
            memory=_object(
                "workers",
                oomScoreAdj=Node("integer", minimum=-1000, default=0),
                options=_TEXTS,
                size=_TEXT,
                workers=_NUMBER,
            ),
        ),
    ),
    "IOChaos": _containers(
        "action volumePath",
        action=_enum("latency", "fault", "attrOverride", "mistake"),
        attr=_object(
            **dict.fromkeys(("blocks", "gid", "ino", "nlink", "perm", "rdev", "size", "uid"), _NUMBER),
            **dict.fromkeys(("atime", "ctime", "mtime"), _TIME),
            kind=_TEXT,
        ),
        errno=_NUMBER,
        methods=_TEXTS,
        mistake=_object(filling=_enum("zero", "random"), maxLength=_POSITIVE, maxOccurrences=_POSITIVE),
        percent=Node("integer", default=100),
        **_texts("delay", "path", "volumePath"),
    ),
    "HTTPChaos": _pods(
        "target",
        abort=Node("boolean"),
        code=_NUMBER,
        patch=_object(
            body=_object("type value", **_texts("type", "value")),
            headers=Node("array", items=_TEXTS),
            queries=Node("array", items=_TEXTS),
        ),
        port=_NUMBER,
        replace=_object(headers=_MAP, queries=_MAP, code=_NUMBER, **_texts("body", "method", "path")),
        request_headers=_MAP,
        response_headers=_MAP,
        target=_enum("Request", "Response"),
        tls=_object(
            "certName keyName secretName secretNamespace",
            **_texts("caName", "certName", "keyName", "secretName", "secretNamespace"),
        ),
        **_texts("delay", "method", "path"),
    ),
    "TimeChaos": _containers("timeOffset", clockIds=_TEXTS, timeOffset=_TEXT),
    "DNSChaos": _containers("action", action=_enum("error", "random"), patterns=_TEXTS),
    "JVMChaos": _containers(
        "action",
        action=_enum("latency", "return", "exception", "stress", "gc", "ruleData", "mysql"),
        **dict.fromkeys(("cpuCount", "latency", "pid", "port"), _NUMBER),
        **_texts("class", "database", "exception", "memType", "method", "mysqlConnectorVersion", "name"),
        **_texts("returnValue", "ruleData", "sqlType", "table"),
    ),
    "BlockChaos": _containers(
        "action volumeName",
        action=_enum("delay"),
        delay=_object(**_texts("correlation", "jitter", "latency")),
        volumeName=_TEXT,
    ),
    "KernelChaos": _containers(
        "failKernRequest",
        failKernRequest=_object(
            "failtype",
            callchain=Node("array", items=_object(**_texts("funcname", "parameters", "predicate"))),
            failtype=_COUNT,
            headers=_TEXTS,
            probability=_COUNT,
            times=_COUNT,
        ),
    ),
}
EMBEDDED: Mapping[str, str] = {
    "podChaos": "PodChaos",
    "networkChaos": "NetworkChaos",
    "stressChaos": "StressChaos",
    "ioChaos": "IOChaos",
    "httpChaos": "HTTPChaos",
    "timeChaos": "TimeChaos",
    "dnsChaos": "DNSChaos",
    "jvmChaos": "JVMChaos",
    "blockChaos": "BlockChaos",
    "kernelChaos": "KernelChaos",
}
"""The key under which a Schedule or a Workflow template holds the spec of each kind."""

_EMBED = {key: _SPECS[kind] for key, kind in EMBEDDED.items()}
_SCHEDULE = {
    "concurrencyPolicy": Node("string", enum=("Forbid", "Allow"), default="Forbid"),
    "historyLimit": _POSITIVE,
    "schedule": _TEXT,
    "startingDeadlineSeconds": _COUNT,
    "type": _TEXT,
}
_OPEN = Node("object")  # cloud kinds, tasks, checks: not played here, so not looked into
_TEMPLATE = _object(
    "name templateType",
    **_EMBED,
    **_texts("name", "templateType", "deadline"),
    abortWithStatusCheck=Node("boolean"),
    children=_TEXTS,
    conditionalBranches=Node("array", items=_object("target", **_texts("target", "expression"))),
    schedule=_object("schedule type", **_SCHEDULE, **_EMBED),
    statusCheck=_OPEN,
    task=_OPEN,
)
_WORKFLOW = _object("entry templates", entry=_TEXT, templates=Node("array", items=_TEMPLATE))

SCHEMAS: Mapping[Resource, Schema] = {
    **{resource: Schema("spec", spec=_SPECS[resource.kind]) for resource in CHAOS_KINDS},
    SCHEDULES: Schema("spec", spec=_object("schedule type", **_SCHEDULE, **_EMBED, workflow=_WORKFLOW)),
    WORKFLOWS: Schema("spec", spec=_WORKFLOW),
}
