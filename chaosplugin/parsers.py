"""How words on a command line that are wrong are told: in one line, with what is right."""

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
