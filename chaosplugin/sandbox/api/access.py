"""Who may do what: users by token, allow rules, and the text of a refusal."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from chaosplugin.sandbox.api.errors import ApiError, forbidden
from chaosplugin.sandbox.api.resources import Resource

MASTERS = "system:masters"


@dataclass(frozen=True, slots=True)
class User:
    """A name and groups, as a token stands for them."""

    name: str
    groups: tuple[str, ...] = ()


SYSTEM = User("system:admin", (MASTERS,))
"""Whom no rule binds: tests, and the controllers that play the rest of the cluster."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Allow `verbs` on `resources` (a subresource is `pods/status`); "*" is any.

    `namespace` empty means cluster-wide, `names` empty means any name.
    """

    verbs: frozenset[str]
    group: str
    resources: frozenset[str]
    namespace: str = ""
    names: frozenset[str] = frozenset()

    def allows(self, request: "Request") -> bool:
        return (
            (self.group in {"*", request.group})
            and bool(self.verbs & {"*", request.verb})
            and bool(self.resources & {"*", request.resource})
            and (not self.namespace or self.namespace == request.namespace)
            and (not self.names or request.name in self.names)
        )


@dataclass(frozen=True, slots=True)
class Request:
    """A question of access; `resource` includes the subresource, an empty namespace is cluster-wide."""

    verb: str
    group: str
    resource: str
    namespace: str = ""
    name: str = ""


def rule(verbs: str, group: str, resources: str, namespace: str = "", names: str = "") -> Rule:
    """Write a rule with words separated by blanks: `rule("get list", "apps", "replicasets")`."""
    return Rule(
        frozenset(verbs.split()), group, frozenset(resources.split()), namespace, frozenset(names.split())
    )


@dataclass(slots=True)
class Access:
    """Rules by user name, and those that role bindings give; all requests and access reviews ask here."""

    rules: dict[str, list[Rule]] = field(default_factory=dict)
    bound: dict[tuple[str, str], list[Rule]] = field(default_factory=dict)  # by kind and name of the subject
    tokens: dict[str, User] = field(default_factory=dict)

    def grant(self, user: str, rules: Iterable[Rule]) -> None:
        self.rules.setdefault(user, []).extend(rules)

    def revoke(self, user: str) -> None:
        """Take all rules of a user away, those of role bindings apart."""
        self.rules.pop(user, None)

    def allowed(self, user: User, request: Request) -> bool:
        if MASTERS in user.groups:
            return True
        known = [self.rules.get(user.name, ()), self.bound.get(("User", user.name), ())]
        known += [self.bound.get(("Group", group), ()) for group in user.groups]
        return any(each.allows(request) for rules in known for each in rules)

    def refusal(self, user: User, resource: Resource, request: Request) -> ApiError:
        scope = f'in the namespace "{request.namespace}"' if request.namespace else "at the cluster scope"
        why = (
            f'User "{user.name}" cannot {request.verb} resource "{request.resource}" '
            f'in API group "{request.group}" {scope}'
        )
        return forbidden(resource, request.name, why)


ARGO_ROLLOUTS = "system:serviceaccount:argo-rollouts:argo-rollouts"

UPSTREAM_ROLE = (
    rule("get list watch update patch", "argoproj.io", "rollouts rollouts/status rollouts/finalizers"),
    rule(
        "create get list watch update patch delete",
        "argoproj.io",
        "analysisruns analysisruns/finalizers experiments experiments/finalizers",
    ),
    rule("get list watch", "argoproj.io", "analysistemplates clusteranalysistemplates"),
    rule("create get list watch update patch delete", "apps", "replicasets"),
    rule("get list watch", "apps", "deployments"),
    rule("get list watch patch create delete", "", "services"),
    rule("create get update", "coordination.k8s.io", "leases"),
    rule("get list watch", "", "secrets configmaps"),
    rule("list update watch", "", "pods"),
    rule("create", "", "pods/eviction"),
    rule("create update patch", "", "events"),
)
"""What upstream's ClusterRole gives the controller's ServiceAccount, of the resources served here."""

PLUGIN_ROLE = (
    rule(
        "get list watch create update patch delete",
        "chaos-mesh.org",
        "podchaos networkchaos stresschaos iochaos httpchaos timechaos dnschaos jvmchaos blockchaos "
        "schedules schedule workflows workflow",
    ),
    rule("list", "chaos-mesh.org", "workflownodes"),
    rule("list watch", "", "events"),
    rule("get", "", "namespaces", names="kube-system"),
)
"""What deploy/ adds for the plugin, cluster-wide."""
