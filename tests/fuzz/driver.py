"""One fuzzing target under atheris: `python -m tests.fuzz.driver TARGET (--runs N | --seconds S)`.

A target is a module beside this one with `check(data)`, which raises whatever is a finding, `seeds()`, and
maybe `TOKENS` and `mutate(data, size, seed, mutate_bytes)`. A finding ends the run with a status that is not
zero and leaves the input in build/fuzz/TARGET; put it into corpus/TARGET, where test_corpus.py runs it.
"""

import argparse
import hashlib
import importlib
import random
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
BUILD = FOLDER.parents[1] / "build" / "fuzz"
TARGETS = (
    "gob_any",
    "gob_metric",
    "netrpc_server",
    "yamux_session",
    "handshake_line",
    "yaml_guard",
    "config_parse",
    "grpc_request",
)
LONGEST = 2048  # bytes of an input; what takes more of them is in the tests of each limit
TIMEOUT_S = 20  # for one input, on a machine that others use as well
MAX_RSS_MB = 768  # instrumented modules and their coverage take 150


def main() -> None:
    """Fuzz one target until its time or its number of runs is over, or something is found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--runs", type=int, default=-1)
    parser.add_argument("--seconds", type=int, default=0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(31) | 1)
    given = parser.parse_args()

    import atheris  # noqa: PLC0415  there is no wheel for each Python; whoever calls this has looked

    with atheris.instrument_imports(include=["chaosplugin"], enable_loader_override=False):
        target = importlib.import_module(f"tests.fuzz.{given.target}")
    folder = BUILD / given.target
    found, seeds = folder / "corpus", folder / "seeds"
    for path in (found, seeds):
        path.mkdir(parents=True, exist_ok=True)
    for seed in target.seeds():
        (seeds / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed[:LONGEST])
    options = [
        f"-runs={given.runs}",
        f"-max_total_time={given.seconds}",
        f"-seed={given.seed}",
        f"-max_len={LONGEST}",
        f"-timeout={TIMEOUT_S}",
        f"-rss_limit_mb={MAX_RSS_MB}",
        f"-artifact_prefix={folder}/",
        "-print_final_stats=1",
    ]
    if known := getattr(target, "TOKENS", ()):
        tokens = folder / "tokens"
        tokens.write_text("".join(f"{_quoted(token)}\n" for token in known))
        options.append(f"-dict={tokens}")
    kept = FOLDER / "corpus" / given.target
    folders = [str(found), str(seeds), *([str(kept)] if kept.is_dir() else [])]
    extra = {}
    if hasattr(target, "mutate"):
        extra["custom_mutator"] = lambda data, size, seed: target.mutate(data, size, seed, atheris.Mutate)
    atheris.Setup([sys.argv[0], *options, *folders], target.check, **extra)
    print(f"{given.target}: seed {given.seed}", flush=True)  # noqa: T201
    atheris.Fuzz()


def _quoted(token: bytes) -> str:
    return '"' + "".join(f"\\x{byte:02x}" for byte in token) + '"'


if __name__ == "__main__":
    main()
