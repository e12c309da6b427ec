"""What is told of Argo's calls, and the context that their work takes along."""

from chaosplugin.core import ledger
from chaosplugin.core.analysis import Measurement, Metric, Phase
from chaosplugin.core.objects import AnalysisRun
from chaosplugin.core.trace import ROOT, trace_of
from chaosplugin.provider.facts import Called, Fact, Gate, gate
from chaosplugin.provider.telling import TellingProvider
from tests.core.given import analysis_run
from tests.provider.gate import clock

METRIC = Metric(name="chaos")


class Seeing:
    """Answers at once, and remembers in which context it was asked."""

    def __init__(self) -> None:
        self.seen: list[Gate | None] = []

    def init(self) -> str:
        return ""

    def run(self, run: AnalysisRun | None, metric: Metric) -> Measurement:
        self.seen.append(gate.get())
        return Measurement(phase=Phase.ERROR)

    def resume(self, run: AnalysisRun | None, metric: Metric, measurement: Measurement) -> Measurement:
        return Measurement(phase=Phase.INCONCLUSIVE)

    def terminate(self, run: AnalysisRun | None, metric: Metric, measurement: Measurement) -> Measurement:
        return Measurement(phase=Phase.INCONCLUSIVE)

    def garbage_collect(self, run: AnalysisRun | None, metric: Metric, limit: int) -> str:
        return ""

    def type(self) -> str:
        return "Seeing"

    def get_metadata(self, metric: Metric) -> dict[str, str]:
        return {}


def telling(provider: Seeing, told: list[Fact]) -> TellingProvider:
    return TellingProvider(provider, told.append, clock=clock, sampled=lambda _: True)


def test_a_call_is_told_with_its_gate_and_its_answer() -> None:
    told: list[Fact] = []
    provider = telling(Seeing(), told)
    run = analysis_run()
    given = Measurement(phase=Phase.RUNNING)
    provider.run(run, METRIC)
    provider.resume(run, METRIC, given)
    provider.terminate(run, METRIC, given)
    provider.garbage_collect(run, METRIC, 10)
    calls = [fact for fact in told if isinstance(fact, Called)]

    assert [(call.method, call.phase) for call in calls] == [
        ("Run", Phase.ERROR),
        ("Resume", Phase.INCONCLUSIVE),
        ("Terminate", Phase.INCONCLUSIVE),
        ("GarbageCollect", None),
    ]
    assert all(0 <= call.seconds < 5 for call in calls)
    assert calls[0].gate is not None
    assert calls[0].gate.trace == trace_of(ledger.identify(run, "chaos"), 0)


def test_the_context_lasts_as_long_as_the_call() -> None:
    seeing = Seeing()
    telling(seeing, []).run(analysis_run(), METRIC)
    (asked,) = seeing.seen

    assert asked is not None
    assert (asked.run, asked.span) == (ledger.identify(analysis_run(), "chaos").digest, ROOT)
    assert gate.get() is None


def test_a_call_without_an_analysis_run_has_no_gate() -> None:
    told: list[Fact] = []
    telling(Seeing(), told).run(None, METRIC)
    (call,) = told

    assert isinstance(call, Called)
    assert call.gate is None
