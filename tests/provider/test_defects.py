"""An error of the plugin itself, of which nobody knows yet, ends one gate at most, and is told."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import pytest

from chaosplugin.core import recovery
from chaosplugin.core.analysis import Phase
from chaosplugin.core.judge import Judgement
from chaosplugin.core.objects import ChaosObject
from chaosplugin.core.pods import PodStore
from chaosplugin.core.run import Run
from chaosplugin.provider import background, watching
from tests.provider.gate import clock, config, gate


async def test_a_gate_that_meets_an_error_ends_with_it_and_the_next_one_is_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    judge = recovery.judge

    def broken(run: Run, pods: PodStore, now: object) -> Judgement:
        if run.spec.analysis_run.metadata.name == "web-1":
            raise LookupError("no such thing")
        return judge(run, pods, clock())

    async with gate(tmp_path) as bed:
        bed.deploy()
        monkeypatch.setattr(recovery, "judge", broken)

        first = await bed.judge(bed.analysis_run(), config())
        second = await bed.judge(bed.analysis_run("web-2"), config())

        assert (first.phase, second.phase) == (Phase.INCONCLUSIVE, Phase.SUCCESSFUL)
        assert first.message.startswith("InternalError: ")
        assert "LookupError: no such thing" in first.message
        assert any("verdict" in key for key in bed.annotations())
        await bed.until(lambda: not bed.experiments)
    told = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [record.exc_info is not None for record in told] == [True]


async def test_a_create_that_meets_an_error_is_looked_for_before_it_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with gate(tmp_path) as bed:
        bed.deploy()
        create, tries = bed.home.create_chaos, 0

        async def broken(manifest: Mapping[str, object]) -> ChaosObject:
            nonlocal tries
            tries += 1
            if tries == 1:
                raise LookupError("no such thing")
            return await create(manifest)

        monkeypatch.setattr(bed.home, "create_chaos", broken)

        answer = await bed.judge(bed.analysis_run(), config())

        assert (answer.phase, tries) == (Phase.SUCCESSFUL, 2)
        assert "uncertain" in bed.stages


async def test_errors_on_the_way_to_the_cluster_end_no_plugin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(background, "_AGAIN_S", 0.0)
    monkeypatch.setattr(watching, "RETRY_S", 0.0)
    async with gate(tmp_path) as bed:
        bed.deploy()
        monkeypatch.setattr(bed.home, "follow_now", lambda *_: None)
        for broken, method in (
            (bed.provider._clusters, "home"),
            (bed.home, "allowed"),
            (bed.home, "follow"),
        ):
            monkeypatch.setattr(broken, method, errs_once(getattr(broken, method)))

        answer = await bed.judge(bed.analysis_run(), config())

        assert answer.phase is Phase.SUCCESSFUL, answer.message
    told = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [record.exc_info is not None for record in told] == [True] * 3


def errs_once(right: Callable[..., Awaitable[object]]) -> Callable[..., Awaitable[object]]:
    """Return what does the same from its second call on."""
    calls = 0

    async def either(*given: object) -> object:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise LookupError("no such thing")
        return await right(*given)

    return either


async def test_what_is_done_beside_the_gates_begins_anew_after_an_error(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(background, "_AGAIN_S", 0.0)
    tries = 0

    async def work() -> None:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise LookupError("no such thing")

    await background.keep(work)

    assert (tries, len(caplog.records)) == (3, 2)
