"""The lines of build/bench.json."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

FILE = Path("build") / "bench.json"


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value, beside that of the Go plugin.

    `target` bounds `ratio`; where `ratio` is None it bounds `value`, in `unit`.
    """

    name: str
    value: float
    unit: str
    baseline: float
    ratio: float | None
    target: float
    ok: bool

    def line(self) -> str:
        """Return a line of the table."""
        ratio = f"{self.ratio:6.2f}" if self.ratio is not None else " " * 6
        bound = f"{self.target:g}x" if self.ratio is not None else f"{self.target:g} {self.unit}"
        verdict = "ok" if self.ok else "OVER"
        values = f"{self.value:10.3f} {self.baseline:10.3f} {self.unit}"
        return f"{self.name:26}{values}   {ratio}  {bound:8} {verdict}"


def relative(name: str, unit: str, value: float, baseline: float, *, most: float) -> Figure:
    """Bound the ratio to Go's."""
    ratio = value / baseline
    return Figure(name, round(value, 4), unit, round(baseline, 4), round(ratio, 2), most, ratio <= most)


def absolute(name: str, unit: str, value: float, baseline: float, *, most: float) -> Figure:
    """Bound the value itself; Go's is there to compare."""
    return Figure(name, round(value, 3), unit, round(baseline, 3), None, most, value <= most)


def percentile(values: Sequence[float], rank: int) -> float:
    """Return the value that `rank` percent of them do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * rank // 100)]


def bounded(name: str, unit: str, value: float, *, most: float) -> Figure:
    """Bound a value that has no counterpart in Go."""
    return Figure(name, round(value, 3), unit, 0.0, None, most, value <= most)


def report(figures: Iterable[Figure], *, baseline: bool = False) -> None:
    """Print a table, and put its lines into the file beside those of other programs."""
    measured = list(figures)
    known = json.loads(FILE.read_text()) if FILE.exists() else []
    names = {each.name for each in measured}
    FILE.parent.mkdir(exist_ok=True)
    kept = [each for each in known if each["name"] not in names]
    FILE.write_text(json.dumps([*kept, *map(asdict, measured)], indent=1) + "\n")
    if baseline:
        print(f"{'':26}{'ours':>10} {'Go':>10}      {'ratio':>6}  target")
    for each in measured:
        print(each.line())
    print(f"in {FILE}")
