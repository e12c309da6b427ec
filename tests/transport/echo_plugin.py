"""A plugin process whose service echoes text; what the tests of goplugin start as a host starts a plugin."""

import asyncio
import os
import subprocess
import sys

from chaosplugin.transport import listener as listening

listener = listening.listen(os.environ)
host = listening.announce(listener, 1)

from chaosplugin.transport import goplugin  # noqa: E402
from chaosplugin.transport.netrpc import Endpoint  # noqa: E402
from chaosplugin.wire.gob import gotypes, shapes  # noqa: E402
from chaosplugin.wire.netrpc import Method  # noqa: E402


async def echo(text: object) -> object:
    if text == "print":
        print("printed", flush=True)  # noqa: T201
    if text == "flood":
        print("x" * 500_000, flush=True)  # noqa: T201
    if text == "child":
        subprocess.Popen(["sleep", "30"])
    if text == "hang":
        await asyncio.sleep(60)
    return text


service = {"Plugin.Echo": Endpoint(Method(argument=shapes.STRING, reply=gotypes.STRING), echo)}
end = asyncio.run(goplugin.serve(listener, host, {"Echo": service}))
sys.stderr.write(f"ended: {end.name}\n")
