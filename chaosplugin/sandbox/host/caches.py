"""The informers that the host's controllers share."""

from collections.abc import Iterator

from chaosplugin.sandbox.api.resources import (
    ANALYSIS_RUNS,
    ANALYSIS_TEMPLATES,
    CLUSTER_ANALYSIS_TEMPLATES,
    EXPERIMENTS,
    REPLICA_SETS,
    ROLLOUTS,
    Object,
)
from chaosplugin.sandbox.host.arguments import ArgumentError
from chaosplugin.sandbox.host.informer import Informer
from chaosplugin.sandbox.host.requests import Requests


class Caches:
    """One informer for each resource that is read."""

    def __init__(self, requests: Requests) -> None:
        self.rollouts = Informer(requests, ROLLOUTS)
        self.replica_sets = Informer(requests, REPLICA_SETS)
        self.runs = Informer(requests, ANALYSIS_RUNS)
        self.experiments = Informer(requests, EXPERIMENTS)
        self._templates = Informer(requests, ANALYSIS_TEMPLATES)
        self._cluster_templates = Informer(requests, CLUSTER_ANALYSIS_TEMPLATES)

    def __iter__(self) -> Iterator[Informer]:
        yield from (self.rollouts, self.replica_sets, self.runs, self.experiments)
        yield from (self._templates, self._cluster_templates)

    def template(self, namespace: str, reference: Object) -> Object:
        """Return the template that an analysis names.

        Raises ArgumentError, with the API server's text, if there is none.
        """
        name = reference["templateName"]
        if reference.get("clusterScope"):
            found, what = self._cluster_templates.get(("", name)), "clusteranalysistemplate"
        else:
            found, what = self._templates.get((namespace, name)), "analysistemplate"
        if found is None:
            raise ArgumentError(f'{what}.argoproj.io "{name}" not found')
        return found
