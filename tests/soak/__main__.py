"""Gates under random faults and kills, held against an oracle that sees everything."""

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

import anyio

from tests.soak.campaign import KILLS_FOR, Result, soak

MOST_MB = 1.5
"""Growth of a plugin's memory for each hundred gates. Whoever forgot none of its gates would grow by 2 MB; up
to 1 MB is what is in cycles when it dies, and is looked for every ten minutes only."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--gates", type=int, default=1000)
    parser.add_argument("--together", type=int, default=30, help="gates at a time")
    parser.add_argument(
        "--kills-for", type=float, default=KILLS_FOR, help="part of the gates; 0 kills nobody"
    )
    parser.add_argument("--apart", action="store_true", help="one trouble at a time")
    found = parser.parse_args()
    began = time.monotonic()

    def tell(text: str) -> None:
        sys.stdout.write(f"{time.monotonic() - began:6.0f} s  {text}\n")
        sys.stdout.flush()

    told = {"SEED": found.seed, "GATES": found.gates, "KILLS": found.kills_for}
    told |= {"APART": 1} if found.apart else {}
    again = " ".join(f"{name}={value}" for name, value in told.items())
    tell(f"seed {found.seed}: make soak {again} plays the same again")
    folder = Path(tempfile.mkdtemp(prefix="soak-"))

    async def play() -> Result:
        return await soak(
            folder,
            seed=found.seed,
            gates=found.gates,
            together=found.together,
            tell=tell,
            kills_for=found.kills_for,
            apart=found.apart,
        )

    result = anyio.run(play)
    for line in result.lines():
        tell(line)
    tell(f"the controllers' log: {folder / 'controllers.log'}")
    if result.slope is not None and result.slope > MOST_MB:
        tell(f"memory grows: {result.slope:.1f} MB for 100 gates, at most {MOST_MB} is wanted")
        return 1
    return 1 if result.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
