"""Every fuzzing target, two at a time: `python -m tests.fuzz.campaign (--runs N | --seconds S)`.

Ends with a line such as pytest's, which .ci/run counts. The log of each target is build/fuzz/TARGET.log.
"""

import argparse
import importlib.util
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.fuzz.driver import BUILD, TARGETS

_AT_ONCE = 2
_TAIL = 40  # lines of the log of a target that found something


def main() -> int:
    """Return the number of targets that found something."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=-1)
    parser.add_argument("--seconds", type=int, default=0)
    parser.add_argument("--seed", type=int)
    parser.add_argument("targets", nargs="*", default=TARGETS)
    given = parser.parse_args()
    if importlib.util.find_spec("atheris") is None:
        version = ".".join(map(str, sys.version_info[:2]))
        say(f"fuzzing is left out: atheris has no wheel for Python {version} on this machine")
        say(f"{len(given.targets)} skipped in 0.00s")
        return 0
    BUILD.mkdir(parents=True, exist_ok=True)
    options = [f"--runs={given.runs}", f"--seconds={given.seconds}"]
    options += [] if given.seed is None else [f"--seed={given.seed}"]
    start = time.monotonic()
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        failed = sum(pool.map(lambda target: not fuzz(target, options), given.targets))
    passed = len(given.targets) - failed
    counts = ", ".join([f"{failed} failed"] * bool(failed) + [f"{passed} passed"] * bool(passed))
    say(f"{counts} in {time.monotonic() - start:.2f}s")
    return failed


def fuzz(target: str, options: Sequence[str]) -> bool:
    """Run one target and say how it went; return whether nothing was found."""
    log = BUILD / f"{target}.log"
    with log.open("w") as out:
        command = [sys.executable, "-m", "tests.fuzz.driver", target, *options]
        done = subprocess.run(
            command, stdout=out, stderr=subprocess.STDOUT, cwd=Path(__file__).parents[2], check=False
        )
    said = log.read_text(errors="replace")
    figures = dict(re.findall(r"stat::(\w+):\s+(\d+)", said))
    seed = re.search(rf"^{target}: seed (\d+)$", said, re.MULTILINE)
    say(
        f"{target:15} {figures.get('number_of_executed_units', '0'):>9} runs, "
        f"{figures.get('average_exec_per_sec', '?'):>6}/s, {figures.get('peak_rss_mb', '?'):>4} MB, "
        f"seed {seed[1] if seed else '?'}"
    )
    if done.returncode:
        say(f"{target}: status {done.returncode}, the end of {log}:")
        say("\n".join(said.splitlines()[-_TAIL:]))
    return done.returncode == 0


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
