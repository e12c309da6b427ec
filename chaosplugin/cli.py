"""The command line, and the only reader of os.environ and argv.

Started by a host of Argo Rollouts (its cookie is in the environment) the program is the plugin. Started
by hand it explains itself, or runs the demo and the sandbox. Exit codes: 0 done, 1 not done, 2 bad
arguments, 130 ended by ctrl-C, 143 by SIGTERM before it served; those of the commands about gates are in
`commands`.
"""

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from chaosplugin.provider.settings import Settings, Traces
from chaosplugin.transport import startup

if TYPE_CHECKING:
    import argparse

    from chaosplugin.transport.grpc.addresses import Target

_EPILOG = """\
as a plugin (started by Argo Rollouts' controller; options are `args` in argo-rollouts-config):

{plugin}
traces are sent where OTEL_EXPORTER_OTLP_ENDPOINT or OTEL_TRACES_EXPORTER is set in the environment; of the
other variables OTEL_* those for headers, protocol, sampler, resource, batches and OTEL_SDK_DISABLED hold

as a bridge (likewise; the first of the args is `bridge`):
  bridge --target ADDRESS       forward to `chaosplugin serve`; `chaosplugin bridge --help` tells the options

examples:
  chaosplugin demo                       a canary that survives, and one that does not, in a minute
  chaosplugin sandbox --folder /tmp/bed  an embedded cluster to try things on; writes a kubeconfig
  chaosplugin --self-check               what a gate needs, tried; --namespace NAME for one namespace
  chaosplugin serve --listen unix:///run/chaosplugin/socket
                                         gates for bridges and other programs
  chaosplugin run template.yaml --rollout web
                                         a gate from a CI job; its exit code is the verdict

exit codes: 0 done; 1 not done, or started by hand without a command; 2 bad arguments; 130 ctrl-C; 143 SIGTERM
before it serves; of `run`, `watch`, `ls` and `stop` others, which their own --help tells
"""
_DEMO = """\
examples:
  chaosplugin demo
  chaosplugin demo --stay --metrics-address :9464

exit codes: 0 both canaries ended as they must; 1 they did not; 2 bad arguments; 130 ctrl-C; 143 SIGTERM
"""
_SANDBOX = """\
examples:
  chaosplugin sandbox --folder /tmp/bed
  KUBECONFIG=/tmp/bed/system-admin.kubeconfig kubectl get rollouts,podchaos --all-namespaces

It has an API server and plays Chaos Mesh, nodes and ReplicaSets; no controller of Argo Rollouts. It tells no
OpenAPI schemas, so `kubectl create` and `apply` want --validate=false; it validates itself.

exit codes: 1 it cannot serve; 2 bad arguments; 130 ctrl-C; 143 SIGTERM
"""
_CHECK = """\
examples:
  chaosplugin --self-check --kubeconfig controller.kubeconfig
  chaosplugin --self-check --namespace shop

exit codes: 0 nothing is missing; 1 something is; 2 bad arguments; 130 ctrl-C; 143 SIGTERM
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if os.getpid() == 1:
        _end_as_others_do()
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")  # else each failed handshake is a line, and no JSON
    if startup.is_wanted(os.environ):
        return _plugin(arguments)
    if not arguments:
        sys.stderr.write(startup.BY_HAND)
        return 1
    try:
        return _self_check(arguments[1:]) if arguments[0] == "--self-check" else _by_hand(arguments)
    except KeyboardInterrupt:
        return 130


def _end_as_others_do() -> None:
    """Let SIGTERM end the first process of a container, too: by default the kernel keeps it from that.

    The launcher has let it wait. Who serves handles it in its own way later.
    """
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])


# -- as a plugin


def _plugin(arguments: Sequence[str]) -> int:
    """Be the plugin, or a bridge: nothing heavy is imported before the handshake line is out."""
    try:
        wanted = _bridge(arguments[1:]) if arguments[:1] == ["bridge"] else _settings(arguments)
        if isinstance(wanted, Settings) and wanted.grpc:
            return _grpc_plugin(wanted)
        begun = startup.begin(os.environ)
    except startup.CannotStartError as error:
        sys.stderr.write(f"[ERROR] chaosplugin: {error}\n")  # a prefix that the host's log understands
        return 1
    from chaosplugin import app  # noqa: PLC0415 - after the handshake line

    if isinstance(wanted, Settings):
        app.run_plugin(wanted, begun)
    else:
        app.run_bridge(*wanted, begun)
    return 0


def _grpc_plugin(settings: Settings) -> int:
    """Be a plugin in go-plugin's gRPC mode: gRPC has to be imported before the handshake line."""
    waiting = startup.begin_grpc(os.environ)
    from chaosplugin import app  # noqa: PLC0415

    app.run_grpc_plugin(settings, waiting)
    return 0


def _bridge(arguments: Sequence[str]) -> "tuple[Target, str]":
    from chaosplugin import options  # noqa: PLC0415 - a plugin does without

    return options.bridge(arguments)


def _settings(arguments: Sequence[str]) -> "Settings":
    """Read the plugin's `args`; without any, no parser is imported."""
    if not arguments:
        from chaosplugin.core.policy import Policy  # noqa: PLC0415 - by hand it is not needed

        kubeconfig = os.environ.get("KUBECONFIG") or None
        return Settings(Policy(), kubeconfig, "info", traces=traces_of(os.environ))
    from chaosplugin.options import add_plugin  # noqa: PLC0415
    from chaosplugin.parsers import HostParser  # noqa: PLC0415

    parser = HostParser(prog="chaosplugin", add_help=False)
    add_plugin(parser)
    found = parser.parse_args(arguments)
    return _observed(parser, found)._replace(grpc=found.protocol == "grpc")


def _observed(parser: "argparse.ArgumentParser", found: "argparse.Namespace") -> Settings:
    """Read the settings of a process that metrics and traces may tell of."""
    from chaosplugin import options  # noqa: PLC0415
    from chaosplugin.transport.grpc.addresses import BadAddress  # noqa: PLC0415

    try:
        metrics = options.metrics(found)
    except BadAddress as error:
        parser.error(str(error))
    return _of_options(found)._replace(metrics=metrics, traces=traces_of(os.environ))


def _of_options(found: "argparse.Namespace") -> Settings:
    from chaosplugin.core.policy import Policy, Wake  # noqa: PLC0415

    policy = Policy(
        allow_unowned=found.allow_unowned,
        allow_stable=found.allow_stable,
        allow_full_traffic=found.allow_full_traffic,
        allow_cross_namespace=found.allow_cross_namespace,
        allow_network_target=found.allow_network_target,
        allow_workflow_task=found.allow_workflow_task,
        allow_status_check=found.allow_status_check,
        allow_endpoints=tuple(found.allow_endpoint),
        force_cleanup=found.force_cleanup,
        wake=Wake(found.wake) if found.wake else None,
    )
    kubeconfig = found.kubeconfig or os.environ.get("KUBECONFIG") or None
    return Settings(policy, kubeconfig, found.log_level, found.kube_api_qps)


def traces_of(environ: Mapping[str, str]) -> Traces | None:
    """Read what decides whether anything is traced, as the specification of OTEL_* has it.

    One exception: without any endpoint nothing is sent, as nobody has asked for it.
    """

    def said(name: str) -> str:
        return environ.get(name, "").strip()

    def number(name: str, default: int) -> int:
        text = said(name)
        return (int(text) if text.isdecimal() else 0) or default

    exporter = said("OTEL_TRACES_EXPORTER")
    endpoint = said("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or said("OTEL_EXPORTER_OTLP_ENDPOINT")
    if said("OTEL_SDK_DISABLED").lower() == "true" or exporter == "none" or not (exporter or endpoint):
        return None
    protocol = said("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or said("OTEL_EXPORTER_OTLP_PROTOCOL") or "grpc"
    waiting = number("OTEL_BSP_MAX_QUEUE_SIZE", 2048)
    batch = number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512)
    return Traces(exporter or "otlp", protocol, waiting, min(batch, waiting))


# -- by hand


def _self_check(arguments: Sequence[str]) -> int:
    import argparse  # noqa: PLC0415

    from chaosplugin.parsers import Parser  # noqa: PLC0415

    parser = Parser(
        prog="chaosplugin --self-check",
        description="Try what a gate needs.",
        epilog=_CHECK,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--namespace", default="", help="rights in this one only; by default in all")
    parser.add_argument(
        "--kubeconfig",
        default=os.environ.get("KUBECONFIG"),
        metavar="FILE",
        help="by default $KUBECONFIG, else the cluster that it runs in",
    )
    parser.add_argument("--server", action="store_true", help="what the account of `chaosplugin serve` needs")
    found = parser.parse_args(arguments)
    from chaosplugin import selfcheck  # noqa: PLC0415

    return selfcheck.run(os.environ, found.kubeconfig or None, found.namespace, server=found.server)


def _by_hand(arguments: Sequence[str]) -> int:
    import argparse  # noqa: PLC0415

    from chaosplugin import __version__, options, parsers  # noqa: PLC0415

    parser = parsers.Parser(
        prog="chaosplugin",
        description="A metric plugin for Argo Rollouts: a canary passes when it survives a fault.",
        epilog=_EPILOG.format(plugin=options.plugin_help()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"chaosplugin {__version__}")
    parser.add_argument("--self-check", action="store_true", help="try what a gate needs; must come first")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    raw = argparse.RawDescriptionHelpFormatter
    about = "show a canary being gated, on an embedded cluster"
    demo = commands.add_parser("demo", help=about, description=about, epilog=_DEMO, formatter_class=raw)
    demo.add_argument(
        "--metrics-address", type=parsers.host_and_port, metavar="HOST:PORT", help="of the demo's plugin"
    )
    demo.add_argument("--stay", action="store_true", help="keep all running after the story, until ctrl-C")
    about = "serve an embedded cluster until ctrl-C"
    sandbox = commands.add_parser(
        "sandbox", help=about, description=about, epilog=_SANDBOX, formatter_class=raw
    )
    sandbox.add_argument("--folder", required=True, help="takes the kubeconfigs; made if it is not there")
    sandbox.add_argument(
        "--port", type=parsers.port, default=0, help="of the API server; by default a free one"
    )
    about = "serve gates to bridges and other programs, by gRPC"
    serve = commands.add_parser("serve", help=about, description=about)
    options.add_serve(serve)
    options.add_options(serve)
    options.add_metrics(serve)
    commands.add_parser("bridge", help="what the controller starts where a server does the work")
    for command, what in options.GATES.items():
        commands.add_parser(command, help=what)
    if arguments[0] in options.GATES:
        return _gates(arguments[0], arguments[1:])
    if arguments[0] == "bridge":
        options.bridge_parser(parsers.Parser).parse_args(arguments[1:])
        sys.stderr.write(startup.BY_HAND)
        return 1
    found = parser.parse_args(arguments)

    if found.command == "serve":
        return _serve(serve, found)
    from chaosplugin import app  # noqa: PLC0415

    if found.command == "demo":
        plugin = _again()
        if found.metrics_address is not None:
            host, port = found.metrics_address
            plugin += ["--metrics-address", f"{host}:{port}"]
        return app.run_demo(os.environ, plugin, stay=found.stay)
    return app.run_sandbox(found.folder, found.port)


def _again() -> list[str]:
    """Return the words that start this program once more: the one file is its own interpreter."""
    return [sys.executable] if sys.argv[0] == sys.executable else [sys.executable, "-m", "chaosplugin"]


def _gates(command: str, arguments: Sequence[str]) -> int:
    from chaosplugin import options  # noqa: PLC0415
    from chaosplugin.transport.grpc.addresses import BadAddress  # noqa: PLC0415

    parser = options.gate_parser(command)
    options.add_options(parser)
    parser.set_defaults(log_level="warning")
    found = parser.parse_args(arguments)
    try:
        server = options.target(found)
    except BadAddress as error:
        parser.error(str(error))
    from chaosplugin import commands  # noqa: PLC0415

    settings = _of_options(found)
    where = commands.Where(server, settings, found.json)
    match command:
        case "run":
            where = where._replace(settings=settings._replace(traces=traces_of(os.environ)))
            given = (found.template, found.rollout, found.namespace, found.name, found.metric)
            return commands.run(where, commands.Start(*given, found.arg, found.set))
        case "watch":
            return commands.watch(where, found.namespace, found.gate)
        case "ls":
            return commands.ls(where, found.namespace)
        case _:
            return commands.stop(where, found.namespace, found.gate)


def _serve(parser: "argparse.ArgumentParser", found: "argparse.Namespace") -> int:
    from chaosplugin import options  # noqa: PLC0415
    from chaosplugin.transport.grpc.addresses import BadAddress  # noqa: PLC0415

    try:
        listening = options.listening(found)
    except BadAddress as error:
        parser.error(str(error))
    settings = _observed(parser, found)
    from chaosplugin import serving  # noqa: PLC0415

    return serving.run(settings, listening, found.log_format)
