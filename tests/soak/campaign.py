"""Plays so many gates, some at a time, in changing weather; says what was wrong, and how the memory grew."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import anyio

from tests.soak.bed import Bed, bed
from tests.soak.plan import draw
from tests.soak.stage import Stage
from tests.soak.weather import Weather

KILLS_FOR = 0.6
"""The part of the gates in which processes are killed; in the rest one plugin's memory is followed."""
_SAMPLE_S = 1.0
ENOUGH = 120
"""Samples of one plugin of which the second half says something: a run is remembered for a minute, a watch
lingers as long, and the 1,024 Events that are known are reached soon."""
_PAGE = 4096


@dataclass
class Result:
    """What came of a soak."""

    wrong: list[str] = field(default_factory=list)
    played: int = 0
    phases: Counter[str] = field(default_factory=Counter)
    unexcused: int = 0
    """measurements in fair weather only"""
    weather: dict[str, int] = field(default_factory=dict)
    memory: list[tuple[int, float]] = field(default_factory=list)
    """gates played and resident MB of the plugin, since nobody was killed any more"""

    @property
    def slope(self) -> float | None:
        """MB for each hundred gates in the second half of the samples, by least squares; None: too few."""
        points = self.memory[len(self.memory) // 2 :]
        if len(self.memory) < ENOUGH or points[0][0] == points[-1][0]:
            return None
        mean_x, mean_y = (sum(each) / len(points) for each in zip(*points, strict=True))
        spread = sum((x - mean_x) ** 2 for x, _ in points)
        return float(100 * sum((x - mean_x) * (y - mean_y) for x, y in points) / spread)

    def lines(self) -> Iterator[str]:
        """Tell it."""
        yield f"{self.played} gates: " + ", ".join(f"{n} {name}" for name, n in self.phases.most_common())
        yield f"{self.unexcused} of {self.phases.total()} measurements in fair weather only"
        yield "weather: " + ", ".join(f"{n} {name}" for name, n in sorted(self.weather.items()))
        if self.memory:
            first, last = self.memory[0][1], self.memory[-1][1]
            slope, count = self.slope, len(self.memory)
            told = f"{slope:+.1f} MB for 100 gates" if slope is not None else "too few to judge"
            yield f"memory: from {first:.0f} to {last:.0f} MB in {count} samples of one plugin, {told}"
        yield f"{len(self.wrong)} wrong"


async def soak(
    folder: Path,
    *,
    seed: int,
    gates: int,
    together: int,
    tell: Callable[[str], None],
    kills_for: float = KILLS_FOR,
    apart: bool = False,
) -> Result:
    """Play `gates` gates, `together` at a time."""
    result = Result()
    async with bed(folder) as bed_:
        weather = Weather(bed_, seed, kills_until=round(kills_for * gates), apart=apart)
        await bed_.begin()
        async with anyio.create_task_group() as background:
            background.start_soon(weather.run)
            background.start_soon(weather.resync)
            background.start_soon(_follow_memory, bed_, weather, result)
            await _play_all(bed_, weather, result, seed, gates, together, tell)
            background.cancel_scope.cancel()
        result.weather = weather.happened
        for controller in list(bed_.controllers):
            await bed_.end(controller)
        result.wrong += [f"left behind: {each}" for each in await bed_.left_behind()]
    return result


async def _play_all(
    bed_: Bed,
    weather: Weather,
    result: Result,
    seed: int,
    gates: int,
    together: int,
    tell: Callable[[str], None],
) -> None:
    numbers = iter(range(gates))

    async def play_some() -> None:
        for number in numbers:
            stage = Stage(bed_, draw(seed, number))
            told = bed_.folder / f"gate-{number}.txt"
            for each in await stage.play(told):
                result.wrong.append(f"gate {number}: {each}")
                tell(f"WRONG gate {number}: {each}; see {told}")
            result.phases.update(stage.phases)
            result.unexcused += stage.unexcused
            result.played += 1
            weather.played = result.played
            if result.played % 10 == 0 or result.played == gates:
                disturbances = sum(weather.happened.values())
                tell(f"{result.played}/{gates} gates, {len(result.wrong)} wrong, {disturbances} disturbances")

    async with anyio.create_task_group() as tasks:
        for _ in range(together):
            tasks.start_soon(play_some)


async def _follow_memory(bed_: Bed, weather: Weather, result: Result) -> None:
    """Sample one plugin; another one begins another series."""
    followed = 0
    while True:
        await anyio.sleep(_SAMPLE_S)
        pid = bed_.controllers[0].plugin if bed_.controllers else 0
        if weather.killing or not pid:
            continue
        if pid != followed:
            followed = pid
            result.memory.clear()
        try:
            pages = int((Path("/proc") / str(pid) / "statm").read_text().split()[1])
        except (OSError, IndexError):
            continue
        result.memory.append((result.played, pages * _PAGE / 2**20))
