"""A server that tells 100 events a second to whoever watches: `python -m bench.watched SOCKET SECONDS`.

It waits for as many watchers as the third argument says, and prints its memory before and after, in MB.
"""

import os
import sys
from pathlib import Path

import anyio

from chaosplugin.transport.grpc.addresses import Address, Listening
from tests.transport.grpc.feeding import feeding

_RATE = 100


def _resident() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


async def _tell(socket: str, seconds: int, watchers: int) -> None:
    async with feeding(Listening((Address(path=socket),))) as (fed, methods):
        for number in range(500):  # gates that are there already
            fed.step(number)
        print(_resident(), flush=True)
        while methods._watchers < watchers:  # noqa: SLF001, ASYNC110 - as a bench may
            await anyio.sleep(0.05)
        begun = anyio.current_time()
        for number in range(seconds * _RATE):
            await anyio.sleep_until(begun + number / _RATE)
            fed.step(number % 500)
        print(_resident(), flush=True)
        while methods._watchers:  # noqa: SLF001, ASYNC110
            await anyio.sleep(0.05)
        print(anyio.current_time() - begun, flush=True)


if __name__ == "__main__":
    anyio.run(_tell, sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), backend="asyncio")
