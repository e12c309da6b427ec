"""The options of the plugin, of `serve`, `bridge` and the commands about gates: words, and what they mean."""

import argparse
from collections.abc import Sequence
from functools import partial

from chaosplugin import parsers
from chaosplugin.parsers import GateParser, HostParser, Parser
from chaosplugin.provider.settings import Metrics
from chaosplugin.transport.grpc.addresses import BadAddress, Listening, Target, parse

_ADDRESS = "unix:///PATH, HOST:PORT or [IPV6]:PORT"


_ALLOW = {
    "unowned": "gates whose AnalysisRun no Rollout or Experiment controls",
    "stable": "faults in the stable pods",
    "full-traffic": "faults in a canary that carries all production traffic",
    "cross-namespace": "experiments in another namespace than their AnalysisRun's",
    "network-target": "NetworkChaos that writes rules on the pods of spec.target",
    "workflow-task": "Workflows with templates of type Task, which start pods",
    "status-check": "Workflows with templates of type StatusCheck, which send requests",
}


def add_plugin(parser: argparse.ArgumentParser) -> None:
    """Add the args of a plugin."""
    add_options(parser)
    group = parser.add_argument_group("the host")
    group.add_argument(
        "--protocol",
        choices=("netrpc", "grpc"),
        default="netrpc",
        help="grpc is for other hosts of go-plugin than Argo Rollouts",
    )
    add_metrics(parser)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what all that work on gates have in common."""
    group = parser.add_argument_group("the cluster and the log")
    group.add_argument(
        "--kubeconfig", metavar="FILE", help="by default $KUBECONFIG, else the cluster that it runs in"
    )
    group.add_argument(
        "--kube-api-qps",
        type=parsers.rate,
        default=50.0,
        metavar="NUMBER",
        help="requests per second to an API server, 50 by default; a gate takes six",
    )
    group.add_argument(
        "--wake",
        choices=("push", "poll"),
        help="how the controller learns of a verdict; by default push where RBAC allows",
    )
    group.add_argument(
        "--log-level",
        choices=("debug", "info", "warning", "error"),
        default="info",
        help="what is logged, and all that is worse",
    )
    group = parser.add_argument_group("what is refused unless the operator allows it")
    group.add_argument(
        "--allow-endpoint",
        type=parsers.endpoint,
        action="append",
        default=[],
        metavar="HOST[:PORT]",
        help="chaosMeshEndpoint may name this API server (repeat for several)",
    )
    for flag, what in _ALLOW.items():
        group.add_argument(f"--allow-{flag}", action="store_true", help=what)
    group.add_argument(
        "--force-cleanup",
        action="store_true",
        help="remove finalizers of an experiment that is not gone 60 s after its deletion: "
        "Chaos Mesh has not undone the fault then, so it may go on in the pods",
    )


def add_metrics(parser: argparse.ArgumentParser) -> None:
    """Add how a process that stays can be watched."""
    group = parser.add_argument_group("metrics (files are read again when they change)")
    group.add_argument(
        "--metrics-address",
        type=parsers.host_and_port,
        metavar="HOST:PORT",
        help="serve /metrics, /healthz, /readyz and /debug/runs; :PORT is all addresses",
    )
    group.add_argument("--metrics-cert", metavar="FILE", help="over TLS, with this certificate chain")
    group.add_argument("--metrics-key", metavar="FILE", help="its key")
    group.add_argument(
        "--metrics-token-file", metavar="FILE", help="/metrics and /debug/runs want this bearer token"
    )


def metrics(found: argparse.Namespace) -> Metrics | None:
    """Return how a process can be watched. Raises: BadAddress, as what is left out would be left open."""
    files = (found.metrics_cert, found.metrics_key, found.metrics_token_file)
    if found.metrics_address is None and any(files):
        raise BadAddress("--metrics-cert, --metrics-key and --metrics-token-file want --metrics-address")
    if found.metrics_key and not found.metrics_cert:
        raise BadAddress("--metrics-key wants --metrics-cert")
    if found.metrics_address is None:
        return None
    host, port = found.metrics_address
    return Metrics(host, port, *files)


def plugin_help() -> str:
    """Return what `--help` says of the plugin's args."""
    wide = partial(argparse.HelpFormatter, max_help_position=32, width=110)
    parser = argparse.ArgumentParser(usage=argparse.SUPPRESS, add_help=False, formatter_class=wide)
    add_plugin(parser)
    return parser.format_help()


def add_serve(parser: argparse.ArgumentParser) -> None:
    """Add what `serve` knows beside the plugin's own options."""
    parser.epilog, parser.formatter_class = _SERVE, argparse.RawDescriptionHelpFormatter
    group = parser.add_argument_group("where it listens")
    group.add_argument(
        "--listen",
        action="append",
        required=True,
        metavar="ADDRESS",
        help=f"{_ADDRESS}; port 0 is a free one, which the log tells",
    )
    group.add_argument(
        "--socket-group", type=parsers.group, metavar="GID", help="may use the unix sockets, too"
    )
    group = parser.add_argument_group("who may call, over TCP (files are read again when they change)")
    group.add_argument("--tls-cert", metavar="FILE", help="certificate chain of the server")
    group.add_argument("--tls-key", metavar="FILE", help="its key")
    group.add_argument(
        "--client-ca", metavar="FILE", help="callers show a certificate signed by one of these"
    )
    group.add_argument("--token-review", action="store_true", help="callers show a Kubernetes token")
    group.add_argument(
        "--token-audience", action="append", default=[], metavar="NAME", help="one that tokens must be for"
    )
    group.add_argument(
        "--allow-client",
        action="append",
        default=[],
        metavar="NAME[=NAMESPACE,...]",
        help="a name in a certificate, or a Kubernetes user; without namespaces in all of them",
    )
    group.add_argument("--insecure", action="store_true", help="serve a network without TLS, or anybody")
    group = parser.add_argument_group("life")
    group.add_argument(
        "--lease",
        default="",
        metavar="[NAMESPACE/]NAME",
        help="of several servers the holder sweeps; by default chaosplugin in the namespace it runs in",
    )
    group.add_argument(
        "--drain",
        type=parsers.seconds,
        default=20.0,
        metavar="SECONDS",
        help="at the end, for calls that are under way (20)",
    )
    group.add_argument(
        "--log-format", choices=("text", "json"), default="text", help="json is hclog's, as the plugin logs"
    )


def listening(found: argparse.Namespace) -> Listening:
    """Return where and for whom to serve. Raises: BadAddress, with what is wrong."""
    made = Listening(
        addresses=tuple(parse(text) for text in found.listen),
        certificate=found.tls_cert,
        key=found.tls_key,
        client_ca=found.client_ca,
        review_tokens=found.token_review,
        audiences=tuple(found.token_audience),
        allowed=tuple(found.allow_client),
        socket_group=found.socket_group,
        insecure=found.insecure,
        lease=found.lease,
        drain_s=found.drain,
    )
    if refusal := made.refusal():
        raise BadAddress(refusal)
    return made


_SHOWN = ("ca", "cert", "key", "token_file", "server_name", "insecure")
"""What is said of a server beside its address."""


def add_target(parser: argparse.ArgumentParser, flag: str) -> None:
    """Add how a server is reached; `flag` is --target or --server."""
    group = parser.add_argument_group("the server (files are read again when they change)")
    group.add_argument(flag, dest="target", metavar="ADDRESS", help=f"of `chaosplugin serve`: {_ADDRESS}")
    group.add_argument("--ca", metavar="FILE", help="that signs the server's certificate; else the system's")
    group.add_argument("--cert", metavar="FILE", help="our certificate")
    group.add_argument("--key", metavar="FILE", help="its key")
    group.add_argument("--token-file", metavar="FILE", help="our Kubernetes token")
    group.add_argument("--server-name", metavar="NAME", help="in the server's certificate, if not the host")
    group.add_argument("--insecure", action="store_true", help="no TLS over a network")


def target(found: argparse.Namespace) -> Target | None:
    """Return the server to be reached, if one is. Raises: BadAddress, with what is wrong."""
    if not found.target:
        shown = {f"--{name.replace('_', '-')}": getattr(found, name) for name in _SHOWN}
        if of_none := next((flag for flag, value in shown.items() if value), ""):
            raise BadAddress(f"{of_none} is for a server, and none is named")
        return None
    made = Target(
        address=parse(found.target),
        ca=found.ca,
        certificate=found.cert,
        key=found.key,
        token_file=found.token_file,
        server_name=found.server_name,
        plain=found.insecure,
    )
    if refusal := made.refusal():
        raise BadAddress(refusal)
    return made


def bridge(arguments: Sequence[str]) -> tuple[Target, str]:
    """Read the args of a bridge: the server, and the level of its log. Raises: CannotStartError."""
    parser = bridge_parser(HostParser)
    found = parser.parse_args(arguments)
    try:
        reached = target(found)
    except BadAddress as error:
        parser.error(str(error))
    if reached is None:
        parser.error("bridge wants --target ADDRESS")
    return reached, found.log_level


def bridge_parser(kind: type[Parser]) -> Parser:
    """Return the parser of a bridge's options."""
    parser = kind(
        prog="chaosplugin bridge",
        description="Forward the controller's calls to a server: args of the plugin in argo-rollouts-config.",
        epilog=_BRIDGE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_target(parser, "--target")
    parser.add_argument(
        "--log-level",
        choices=("debug", "info", "warning", "error"),
        default="info",
        help="what is logged, and all that is worse",
    )
    return parser


GATES = {
    "run": "run a gate against the canary of a Rollout; its exit code is the verdict",
    "watch": "tell every step of gates",
    "ls": "list gates",
    "stop": "end a gate early, and wait until its fault is undone",
}
"""The commands about gates: what they do."""
_WHERE = """\
With --server the gates are a server's; without it this process works on them itself, in the cluster of
--kubeconfig, and by the --allow options.

examples:
{examples}

exit codes: {codes}
"""
_EXAMPLES = {
    "run": """\
  chaosplugin run gate.yaml --rollout web -n shop --set timeout=2m
  chaosplugin run gate.yaml --rollout web --arg pods=2 --name "build-$BUILD" --json
  chaosplugin run - --rollout web --server gates.example:8443 --ca ca.crt --token-file token < gate.yaml

ctrl-C ends the gate, and waits until its fault is undone. Without --server, what OTEL_EXPORTER_OTLP_ENDPOINT
and its like say holds: the gate is traced.""",
    "watch": """\
  chaosplugin watch                      every step of all gates, until ctrl-C
  chaosplugin watch 1b2c3d4e5f --json    of one, until its end""",
    "ls": """\
  chaosplugin ls
  chaosplugin ls -n shop --json --server unix:///run/chaosplugin/socket""",
    "stop": """\
  chaosplugin stop 1b2c3d4e5f -n shop""",
}
_CODES = {
    "run": "0 survived; 1 failed; 2 inconclusive; 3 error, or used wrongly; 143 SIGTERM before it has a gate"
}
_SERVE = """\
examples:
  chaosplugin serve --listen unix:///run/chaosplugin/socket       for a bridge beside it
  chaosplugin serve --listen 0.0.0.0:8443 --tls-cert tls.crt --tls-key tls.key \\
    --token-review --token-audience chaosplugin \\
    --allow-client system:serviceaccount:argo-rollouts:argo-rollouts \\
    --allow-client system:serviceaccount:ci:gates=shop

exit codes: 0 ended by SIGTERM or ctrl-C; 1 it cannot serve; 2 bad arguments; 143 SIGTERM before it serves
"""
_BRIDGE = """\
examples (args in argo-rollouts-config, a word each):
  bridge --target unix:///run/chaosplugin/socket
  bridge --target gates.example:8443 --ca /tls/ca.crt --token-file /var/run/secrets/tokens/chaosplugin
  bridge --target gates.example:8443 --ca /tls/ca.crt --cert /tls/tls.crt --key /tls/tls.key

exit codes: 0 ended by its host; 1 bad arguments, or started by hand; 143 SIGTERM before the handshake
"""


def gate_parser(command: str) -> GateParser:
    """Return the parser of a command about gates."""
    parser = GateParser(
        prog=f"chaosplugin {command}",
        description=GATES[command],
        epilog=_WHERE.format(
            examples=_EXAMPLES[command],
            codes=_CODES.get(command, "0 done; 3 not done, or used wrongly; 130 ctrl-C; 143 SIGTERM"),
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if command == "run":
        parser.add_argument(
            "template", metavar="TEMPLATE", help="file of an AnalysisTemplate or an experiment; - is stdin"
        )
        parser.add_argument("--rollout", required=True, metavar="NAME", help="whose canary is to be hit")
        parser.add_argument("--name", default="", help="of the gate; a second run of it starts nothing")
        parser.add_argument("--metric", default="", metavar="NAME", help="of several in a template")
        parser.add_argument("--arg", action=_Pairs, default={}, metavar="NAME=VALUE", help="of a template")
        parser.add_argument(
            "--set",
            action=_Pairs,
            default={},
            metavar="KEY=VALUE",
            help="of the configuration, as timeout=2m",
        )
    elif command != "ls":
        nargs = "?" if command == "watch" else None
        parser.add_argument("gate", nargs=nargs, default="", metavar="ID", help="of a gate, as ls tells")
    many = command in {"watch", "ls"}
    parser.add_argument(
        "-n",
        "--namespace",
        default="" if many else "default",
        metavar="NAMESPACE",
        help="all of them by default" if many else "`default` by default",
    )
    parser.add_argument("--json", action="store_true", help="a JSON object on each line")
    add_target(parser, "--server")
    return parser


class _Pairs(argparse.Action):
    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        key, equals, value = str(values).partition("=")
        if not (key and equals):
            parser.error(f"{option_string} wants {self.metavar}")
        setattr(namespace, self.dest, {**getattr(namespace, self.dest), key: value})
