"""What people see, with and without a terminal."""

import io

import pytest

from chaosplugin.sandbox.terminal import WIDTH, Ink, Terminal


class Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_colour() -> None:
    out = Tty()
    Terminal(out, {}, lambda: 1.25).say("verdict", "good", Ink.GREEN)

    assert "\x1b[32mgood\x1b[0m" in out.getvalue()


@pytest.mark.parametrize(
    ("out", "environ"), [(io.StringIO(), {}), (Tty(), {"NO_COLOR": "1"}), (Tty(), {"TERM": "dumb"})]
)
def test_who_wants_none_gets_none(out: io.StringIO, environ: dict[str, str]) -> None:
    Terminal(out, environ, lambda: 1.25).say("verdict", "good", Ink.GREEN)

    assert out.getvalue() == "   1.2 s  verdict     good\n"


def test_a_long_text_goes_on_below_itself() -> None:
    out = io.StringIO()
    Terminal(out, {}, lambda: 0.0).say("verdict", "word " * 60)

    lines = out.getvalue().splitlines()
    assert len(lines) > 2
    assert max(map(len, lines)) <= WIDTH
    assert all(line.startswith(" " * 22 + "word") for line in lines[1:])
