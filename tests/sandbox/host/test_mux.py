"""The host's end of a session, with a peer that says nothing."""

import logging
import socket
from pathlib import Path

import anyio
import pytest

from chaosplugin.sandbox.host import mux


async def test_a_session_that_is_closed_while_it_is_read_leaves_no_socket_to_the_loop(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = str(tmp_path / "silent")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()
        async with mux.connect(path) as connection:
            await anyio.wait_all_tasks_blocked()

            connection.close()

            await anyio.wait_all_tasks_blocked()
            with pytest.raises(mux.ConnectionLost, match="connection is shut down"):
                await connection.open()
    assert [each for each in caplog.records if each.levelno >= logging.ERROR] == []
