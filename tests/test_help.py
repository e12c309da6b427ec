"""What each command says of itself."""

import pytest

from chaosplugin import cli


@pytest.mark.parametrize("command", ["serve", "bridge", "run", "watch", "ls", "stop"])
def test_help_shows_examples_and_exit_codes(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([command, "--help"])

    said = capsys.readouterr().out
    assert ended.value.code == 0
    assert "\nexamples" in said
    assert "\nexit codes: 0 " in said
    assert max(map(len, said.splitlines())) <= 110
