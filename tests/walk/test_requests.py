"""What a gate asks of the API server, besides its shared watches and its Events."""

from pathlib import Path

from tests.walk.bed import Bed, bed
from tests.walk.gate import KINDS, Gate, metric, settle


async def play(there: Bed, name: str, count: int) -> dict[str, list[Gate]]:
    """Play as many gates of each kind, all at once, until nothing is left to be done."""
    gates = {kind: [Gate(there, f"{name}-{kind}-{n}".lower()) for n in range(count)] for kind in KINDS}
    everyone = [gate for each in gates.values() for gate in each]
    for kind, each in gates.items():
        for gate in each:
            gate.deploy(metric(config=KINDS[kind]))
    await there.until("first versions are healthy", lambda: all(gate.healthy for gate in everyone))
    for gate in everyone:
        gate.begin()
    assert await settle(everyone, 90) == []
    await there.until("experiments are deleted", lambda: all(gate.asked("delete") for gate in everyone))
    assert {gate.verdict for gate in everyone} == {("Successful", "Survived")}
    return gates


async def test_a_gate_makes_few_requests(tmp_path: Path) -> None:
    """A conflict with a write of the controller costs two more, so the best of three gates counts."""
    async with bed(tmp_path / "bed") as there:
        control = await there.begin()
        await play(there, "first", 1)  # who asks what it may do, too
        gates = await play(there, "counted", 3)
        await control.stop()

    asked = {kind: min((gate.asked() for gate in each), key=len) for kind, each in gates.items()}
    assert all(asked.values())
    assert len(asked["PodChaos"]) <= 6, asked
    assert len(asked["Schedule"]) <= 8, asked
    assert len(asked["Workflow"]) <= 8, asked
