"""Lets Argo ask a server that has just begun for what its predecessor was asked.

A plugin is started by a call. Of a server that is replaced Argo knows nothing: it asks at an event of the
AnalysisRun only, at the latest with its resync, and the server cannot go on before it is asked.
"""

import logging

import anyio

from chaosplugin.core import ledger
from chaosplugin.core.objects import Metadata
from chaosplugin.provider.ports import Cluster, ClusterError, Denied

_log = logging.getLogger(__name__)

_AGAIN_S = 5.0


async def wake_all(home: Cluster, word: str) -> None:
    """Touch each AnalysisRun that waits for a measurement of ours; `word` is new with each process."""
    for metadata in await _waiting(home):
        try:
            await home.patch_analysis_run(metadata.namespace, metadata.name, ledger.wake_patch(word))
        except ClusterError as error:
            _log.info("a gate of an earlier server goes on when the controller asks by itself: %s", error)


async def _waiting(home: Cluster) -> list[Metadata]:
    while True:
        try:
            found = await home.list_analysis_runs("", "")
            return [run.metadata for run in found if ledger.awaits(run)]
        except Denied as error:
            _log.info("gates of an earlier server go on when the controller asks by itself: %s", error)
            return []
        except ClusterError as error:
            _log.info("gates of an earlier server are looked for again: %s", error)
        await anyio.sleep(_AGAIN_S)
