"""Words on a command line: how they are read, and told if they are wrong, in one line with what is right."""

import argparse
from collections.abc import Sequence
from typing import ClassVar, NoReturn

from chaosplugin.transport.startup import CannotStartError


class Parser(argparse.ArgumentParser):
    """For people. No option may be shortened: what means one today may mean two tomorrow."""

    wrong: ClassVar[int] = 2
    """the exit code"""

    def parse_known_args(  # type: ignore[override]  # any namespace would do for typeshed
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Look at the options' names first: one that is misspelt is not one that is missing."""
        for word in args or ():
            if word == "--" or (self._subparsers is not None and not word.startswith("-")):
                break
            name = word.partition("=")[0]
            if name.startswith("--") and name not in self._option_string_actions:
                from chaosplugin.core.refusal import nearest  # noqa: PLC0415 - most are right

                known = [each for each in self._option_string_actions if each.startswith("--")]
                shortened = [each for each in known if each.startswith(name)]
                self.error(f"no option {name}; {nearest(name, shortened or known)}")
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        self.exit(self.wrong, f"{self.prog}: error: {message} (see `{self.prog} --help`)\n")


class GateParser(Parser):
    """For the commands about gates, of whose exit codes 1 and 2 are verdicts."""

    wrong = 3


class HostParser(Parser):
    """For args in argo-rollouts-config: what is wrong is for the host's log."""

    def error(self, message: str) -> NoReturn:
        raise CannotStartError(f"args in argo-rollouts-config: {message}")


# -- values


def host_and_port(text: str) -> tuple[str, int]:
    """Read where to listen; no host is all addresses."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or not 0 < int(port) < 65536:
        raise argparse.ArgumentTypeError(f"met {text!r}, wanted HOST:PORT or :PORT")
    return host.removeprefix("[").removesuffix("]"), int(port)


def port(text: str) -> int:
    """Read a port; 0 is a free one."""
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"met {text!r}, wanted a number from 0 to 65535")
    return int(text)


def endpoint(text: str) -> str:
    """Read whom `chaosMeshEndpoint` may name; with a scheme or a path it would never match."""
    if not text or "/" in text or " " in text:
        raise argparse.ArgumentTypeError(f"met {text!r}, wanted HOST or HOST:PORT")
    return text


def rate(text: str) -> float:
    """Read a number of requests per second."""
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 1 <= found <= 10_000:
        raise argparse.ArgumentTypeError(f"met {text!r}, wanted a number from 1 to 10000")
    return found


def group(text: str) -> int:
    """Read the number of a group; the last one of 32 bits means none to the kernel."""
    if not (text.isascii() and text.isdecimal()) or int(text) >= (1 << 32) - 1:
        raise argparse.ArgumentTypeError(f"met {text!r}, wanted the number of a group")
    return int(text)


def seconds(text: str) -> float:
    """Read how long something may take, an hour at most."""
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 <= found <= 3600:
        raise argparse.ArgumentTypeError(f"met {text!r}, wanted seconds from 0 to 3600")
    return found
