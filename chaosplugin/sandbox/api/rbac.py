"""RBAC: the rules that Roles, ClusterRoles and their bindings in the store amount to."""

from collections import defaultdict
from collections.abc import Iterator

from chaosplugin.sandbox.api.access import Access, Rule
from chaosplugin.sandbox.api.resources import (
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    ROLE_BINDINGS,
    ROLES,
    Object,
)
from chaosplugin.sandbox.api.store import Change, Store, Stored


class Rbac:
    """Keeps `access.bound` as the store has it, at once after each change."""

    def __init__(self, store: Store, access: Access) -> None:
        self._store = store
        self._access = access
        for resource in (ROLES, ROLE_BINDINGS, CLUSTER_ROLES, CLUSTER_ROLE_BINDINGS):
            store.listen(self._hear, resource)

    def _hear(self, _: Change) -> None:
        bound: defaultdict[tuple[str, str], list[Rule]] = defaultdict(list)
        for resource in (ROLE_BINDINGS, CLUSTER_ROLE_BINDINGS):
            for binding in self._store.list(resource):
                rules = list(self._rules(binding))
                for subject in binding.object.get("subjects") or ():
                    bound[_subject(subject)] += rules
        self._access.bound = dict(bound)

    def _rules(self, binding: Stored) -> Iterator[Rule]:
        reference = binding.object["roleRef"]
        if reference["kind"] == "ClusterRole":
            role = self._store.get(CLUSTER_ROLES, "", reference["name"])
        else:
            role = self._store.get(ROLES, binding.namespace, reference["name"])
        for rule in (role.object.get("rules") or ()) if role else ():
            for group in rule.get("apiGroups") or ():
                verbs, resources = frozenset(rule["verbs"]), frozenset(rule.get("resources") or ())
                names = frozenset(rule.get("resourceNames") or ())
                yield Rule(verbs, group, resources, binding.namespace, names)


def _subject(subject: Object) -> tuple[str, str]:
    if subject["kind"] == "ServiceAccount":
        return "User", f"system:serviceaccount:{subject.get('namespace', '')}:{subject['name']}"
    return str(subject["kind"]), str(subject["name"])
