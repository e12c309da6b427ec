"""The unix socket of a server, which one after the other has at the same path."""

from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from chaosplugin.transport.grpc import server, sockets
from chaosplugin.transport.grpc.addresses import Address, Listening, Target
from chaosplugin.transport.grpc.credentials import CannotServeError
from tests.transport.grpc.bed import channel, run, serving


def at(folder: Path) -> Listening:
    return Listening((Address(path=str(folder / "s")),))


async def answers(folder: Path) -> bool:
    async with channel(Target(Address(path=str(folder / "s")))) as made:
        return bool((await run(made)).measurement)


@pytest.mark.parametrize("drained", [False, True])
async def test_a_server_that_ends_leaves_the_socket_of_its_successor(
    tmp_path: Path, *, drained: bool
) -> None:
    """It has been deaf for as long as its calls took, so that another one could begin at its path."""
    async with AsyncExitStack() as first, AsyncExitStack() as second:
        draining = await first.enter_async_context(server.serving(at(tmp_path), [], []))
        if drained:
            await draining.stop(0)
        else:
            (tmp_path / "s").unlink()
        await second.enter_async_context(serving(at(tmp_path)))

        await first.aclose()

        assert await answers(tmp_path)
    assert not list(tmp_path.iterdir())


async def test_a_socket_is_there_only_once_it_is_listened_at(tmp_path: Path) -> None:
    """Whoever waits for the file may connect at once; no socket is there under any other name."""
    async with serving(at(tmp_path)):
        assert [each.name for each in tmp_path.iterdir()] == ["s"]
        assert (tmp_path / "s").stat().st_mode & 0o777 == 0o600
        assert await answers(tmp_path)
    assert not list(tmp_path.iterdir())


async def test_a_socket_that_takes_its_place_in_the_last_moment_is_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at whose it is and its removal."""
    successor, real = tmp_path / "next", Path.replace

    def too_late(source: Path, target: Path) -> Path:
        real(successor, source)
        return real(source, target)

    async with serving(at(tmp_path)), serving(Listening((Address(path=str(successor)),))):
        own = sockets.OwnSocket(tmp_path / "s")
        with monkeypatch.context() as patched:
            patched.setattr(Path, "replace", too_late)
            own.remove()

        assert await answers(tmp_path)
        assert [each.name for each in tmp_path.iterdir()] == ["s"]


async def test_what_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("mine")

    with pytest.raises(CannotServeError, match="no socket"):
        async with serving(at(tmp_path)):
            pass

    assert (tmp_path / "s").read_text() == "mine"


async def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CannotServeError, match=f"s: {tmp_path}/missing: No such file or directory$"):
        async with serving(Listening((Address(path=str(tmp_path / "missing" / "s")),))):
            pass
