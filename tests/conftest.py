"""Profiles of hypothesis: `make fuzz` asks for many examples, everything else for few and steady ones."""

import asyncio
import signal

from hypothesis import settings

# A job in the background of a shell ignores ctrl-C, and hands that on to the programs that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# a shared machine stalls, so time is measured elsewhere; and what every run tries is the same each time
settings.register_profile("steady", deadline=None, derandomize=True)
settings.register_profile("fuzz", deadline=None, max_examples=20_000, print_blob=True)
settings.load_profile("steady")

# pytest-asyncio asks for a current loop before it sets its own: unless told that there is none,
# Python 3.11 makes one that nobody closes, and its warning fails a run of mixed tests.
asyncio.set_event_loop(None)
