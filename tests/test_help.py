"""What each command says of itself."""

import re

import pytest

from chaosplugin import cli

COMMANDS = ["demo", "sandbox", "serve", "bridge", "run", "watch", "ls", "stop", "--self-check"]


def _help(capsys: pytest.CaptureFixture[str], *command: str) -> str:
    with pytest.raises(SystemExit) as ended:
        cli.main([*command, "--help"])

    assert ended.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_examples_and_exit_codes(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = _help(capsys, command)

    assert "\nexamples" in said
    assert re.search(r"\nexit codes: \d [^\n]+; 143 SIGTERM", said)
    assert max(map(len, said.splitlines())) <= 110


@pytest.mark.parametrize("command", [[], *([each] for each in COMMANDS)])
def test_each_option_has_a_word(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    lines = _help(capsys, *command).splitlines()

    options = [number for number, line in enumerate(lines) if re.match("  (-[a-z], )?--[a-z]", line)]
    for number in options:
        word = re.search(r"\S  +\S", lines[number]) or re.match(" {20,}", lines[number + 1])
        assert word, lines[number]


def test_the_programs_own_help_has_the_plugins_args(capsys: pytest.CaptureFixture[str]) -> None:
    said = _help(capsys)

    assert "--protocol {netrpc,grpc}" in said
    assert "; 143 SIGTERM" in said
    assert "--allow-stable " in said
    assert "--metrics-token-file FILE" in said
    assert max(map(len, said.splitlines())) <= 110
