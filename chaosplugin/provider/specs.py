"""Turns a call into a checked specification of a gate."""

from collections.abc import Callable, Mapping

from chaosplugin.core import condition, config, experiment, ledger
from chaosplugin.core.analysis import Metric
from chaosplugin.core.objects import AnalysisRun
from chaosplugin.core.policy import Policy
from chaosplugin.core.refusal import InvalidConfig
from chaosplugin.core.run import Spec


def specify(
    run: AnalysisRun,
    metric: Metric,
    *,
    policy: Policy,
    load_yaml: Callable[[str], object],
    origin: Callable[[], str],
) -> Spec:
    """Check what a call asks for, down to the manifest, before anything is begun.

    `origin` is asked when the experiment is created: it is read from the cluster meanwhile.

    Raises:
        InvalidConfig, ScopeRefused, PolicyRefused: in words for the user.
    """
    found = config.parse(
        metric.plugin,
        labels=run.metadata.labels,
        namespace=run.metadata.namespace,
        policy=policy,
        load_yaml=load_yaml,
    )
    owner = run.metadata.controller
    if not found.value and (owner is None or owner.kind != "Experiment"):
        raise config.unknown_value(found.label)
    for name, text in (
        ("successCondition", metric.success_condition),
        ("failureCondition", metric.failure_condition),
    ):
        if text:
            condition.check(name, text)
    identity = ledger.identify(run, metric.name)

    def manifest(value: str, annotations: Mapping[str, str]) -> dict[str, object]:
        return experiment.build(
            found,
            value=value,
            run=run,
            identity=identity,
            policy=policy,
            origin=origin(),
            annotations=annotations,
        )

    if found.value:
        manifest(found.value, {})  # what is refused is refused now
    return Spec(
        identity=identity,
        metric=metric,
        analysis_run=run,
        endpoint=found.endpoint,
        credentials=found.credentials,
        kind=found.template.kind.name,
        namespace=found.namespace,
        name=experiment.name(found.template, identity),
        label=found.label,
        value=found.value,
        manifest=manifest,
        one_shot=found.template.effect.one_shot,
        rules=found.rules,
        timeout=found.timeout,
        target_timeout=found.target_timeout,
        on_no_targets=found.on_no_targets,
        keep=not found.cleanup,
        dry_run=any(entry.metric_name == metric.name for entry in run.spec.dry_run or ()),
        secrets=tuple(arg.secret for arg in run.spec.args or () if arg.secret),
        policy=policy,
    )


def require(run: AnalysisRun | None) -> AnalysisRun:
    """Refuse a call without an AnalysisRun, which Argo never makes, but net/rpc allows."""
    if run is None or not run.metadata.uid or not run.metadata.name:
        raise InvalidConfig("AnalysisRun", "none, or one without name and uid", "the AnalysisRun of the call")
    return run
