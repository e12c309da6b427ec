"""What a step of a run wants done."""

from datetime import datetime

from msgspec import Struct

from chaosplugin.core.commands import Command
from chaosplugin.core.run import Run
from chaosplugin.core.verdict import Finding


class Step(Struct, kw_only=True):
    """What a step at `now` wants: commands, a finding, and when to look again."""

    now: datetime
    commands: list[Command] = []
    finding: Finding | None = None
    look_at: datetime | None = None

    def give(self, run: Run, command: Command) -> None:
        """Give a command, unless one of its kind is under way."""
        if type(command) not in run.pending:
            self.commands.append(command)

    def by(self, at: datetime | None) -> None:
        """Look again at this time; one that is not ahead is being looked at, and hides no other."""
        if at is not None and at > self.now:
            self.look_at = at if self.look_at is None else min(self.look_at, at)


def due(run: Run, now: datetime, step: Step) -> bool:
    """A command that failed is given again only after a pause."""
    if run.retry_at is not None and now < run.retry_at:
        step.by(run.retry_at)
        return False
    run.retry_at = None
    return True
