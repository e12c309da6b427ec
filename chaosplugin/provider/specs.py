"""Turns a call into a checked specification of a gate."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import lru_cache, partial

import msgspec

from chaosplugin.core import condition, config, experiment, ledger
from chaosplugin.core.analysis import Metric
from chaosplugin.core.config import Config
from chaosplugin.core.family import Family
from chaosplugin.core.objects import AnalysisRun, AnalysisRunSpec, Metadata, secrets_of
from chaosplugin.core.policy import Policy
from chaosplugin.core.refusal import InvalidConfig
from chaosplugin.core.run import Spec

_KEPT = 1024  # measurements whose specification is kept; without statuses they are a few kB each
_TEXTS, _LONG_TEXT = 64, 32 << 10  # templates and configurations, and their sizes, that are kept as read

_Asked = tuple[Metadata, AnalysisRunSpec, Metric, int]
"""All of a call that a specification is made of, without what differs between the calls of one measurement,
and is large. Compared as a whole, secrets included; what the transport knew again is the very same object.
"""


class Specs:
    """Specifications of the latest calls: the controller repeats a call at every event of its AnalysisRun.

    `origin` is asked when the experiment is created: it is read from the cluster meanwhile.
    """

    def __init__(
        self, *, policy: Policy, load_yaml: Callable[[str], object], origin: Callable[[], str]
    ) -> None:
        self._policy = policy
        self._load_yaml = load_yaml
        self._load_known = lru_cache(_TEXTS)(load_yaml)
        self._read_known = lru_cache(_TEXTS)(self._read)
        self._origin = origin
        self._kept: OrderedDict[tuple[str, str], tuple[_Asked, Spec]] = OrderedDict()

    def of(self, run: AnalysisRun, metric: Metric) -> Spec:
        """Check what a call asks for, but for what an experiment of it may hit: see `to_begin`.

        Raises:
            InvalidConfig, ScopeRefused, PolicyRefused: in words for the user.
        """
        metadata = msgspec.structs.replace(run.metadata, resource_version="")
        asked = metadata, run.spec, metric, ledger.intent(run, metric.name)
        key = (run.metadata.uid, metric.name)
        known = self._kept.get(key)
        if known is not None and known[0] == asked:
            self._kept.move_to_end(key)
            return known[1]
        spec = specify(
            AnalysisRun(metadata=metadata, spec=run.spec),
            metric,
            ledger.identify(run, metric.name),
            policy=self._policy,
            read=self._configuration,
            origin=self._origin,
        )
        self._kept[key] = asked, spec
        self._kept.move_to_end(key)
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return spec

    def to_begin(self, run: AnalysisRun, metric: Metric) -> Spec:
        """Do the same, and check the manifest, so that what is refused is refused before anything is begun.

        A gate that was begun is followed, whatever is allowed by now, until an experiment is to be created.
        """
        spec = self.of(run, metric)
        if spec.value:
            spec.manifest(spec.value, {})
        return spec

    def forget(self, spec: Spec) -> None:
        """Drop the specification of a measurement that nobody asks about any more."""
        key = (spec.identity.analysis_run_uid, spec.identity.metric)
        known = self._kept.get(key)
        if known is not None and known[1].id == spec.id:  # it may have been made anew, for its mark
            del self._kept[key]

    def _configuration(self, plugin: Mapping[str, bytes]) -> Config:
        """Read a configuration, which gates of one AnalysisTemplate mostly share."""
        few = sum(map(len, plugin.values())) <= _LONG_TEXT
        return (self._read_known if few else self._read)(tuple(plugin.items()))

    def _read(self, plugin: tuple[tuple[str, bytes], ...]) -> Config:
        return config.read(dict(plugin), self._policy, self._load)

    def _load(self, text: str) -> object:
        """Read a template; gates of one AnalysisTemplate, thousands perhaps, share what was read."""
        return (self._load_known if len(text) <= _LONG_TEXT else self._load_yaml)(text)


def specify(
    run: AnalysisRun,
    metric: Metric,
    identity: ledger.Identity,
    *,
    policy: Policy,
    read: Callable[[Mapping[str, bytes]], Config],
    origin: Callable[[], str],
) -> Spec:
    """Make a specification, without a memory of earlier ones."""
    found = config.bind(read(metric.plugin), run.metadata.labels, run.metadata.namespace, policy)
    owner = run.metadata.controller
    if not found.value and (owner is None or owner.kind != "Experiment"):
        raise config.unknown_value(found.label)
    for name, text in (
        ("successCondition", metric.success_condition),
        ("failureCondition", metric.failure_condition),
    ):
        if text:
            condition.check(name, text)

    return Spec(
        identity=identity,
        metric=msgspec.structs.replace(metric, plugin={}),  # which has been read, and may be a megabyte
        analysis_run=run,
        endpoint=found.endpoint,
        credentials=found.credentials,
        kind=found.template.kind.name,
        namespace=found.namespace,
        name=experiment.name(found.template, identity),
        label=found.label,
        value=found.value,
        manifest=partial(_manifest, found, run, identity, policy, origin),
        one_shot=found.template.one_shot,
        rules=found.rules,
        timeout=found.timeout,
        target_timeout=found.target_timeout,
        on_no_targets=found.on_no_targets,
        keep=not found.cleanup,
        dry_run=any(entry.metric_name == metric.name for entry in run.spec.dry_run or ()),
        secrets=secrets_of(run),
        policy=policy,
        family=partial(Family, found.template, found.window) if found.template.kind.spawns else None,
    )


def _manifest(
    found: Config,
    run: AnalysisRun,
    identity: ledger.Identity,
    policy: Policy,
    origin: Callable[[], str],
    value: str,
    annotations: Mapping[str, str],
) -> dict[str, object]:
    return experiment.build(
        found,
        value=value,
        run=run,
        identity=identity,
        policy=policy,
        origin=origin(),
        annotations=annotations,
    )


def require(run: AnalysisRun | None) -> AnalysisRun:
    """Refuse a call without an AnalysisRun, which Argo never makes, but net/rpc allows."""
    if run is None or not run.metadata.uid or not run.metadata.name:
        raise InvalidConfig("AnalysisRun", "none, or one without name and uid", "the AnalysisRun of the call")
    return run
