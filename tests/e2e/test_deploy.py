"""What deploy/ grants, and that kustomize reads it as the suite does."""

import argparse
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from chaosplugin import __version__, options, selfcheck
from chaosplugin.core.kinds import KINDS
from tests.e2e import deployed, rendering
from tests.e2e.conftest import Ground, grounds
from tests.e2e.manifests import PLUGIN, Json
from tests.realbed.bed import load_yaml

# monitoring is of an API that the real API server does not have
_OBSERVABILITY = rendering.DEPLOY.with_name("observability")
_FOLDERS = ("cluster", "namespace", "identity", "server", "gates")


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


def test_a_server_of_its_own_has_the_rights_that_the_controller_lacks_and_those_it_has() -> None:
    wanted = {(right.verb, right.group, right.resource) for _, right in selfcheck.wanted_by_server("")}
    lease = {(verb, "coordination.k8s.io", "leases") for verb in ("get", "create", "update")}

    assert _granted("server", "ClusterRole") == wanted | {("get", "", "namespaces")}
    assert _granted("server", "Role") == lease


def test_gates_without_an_analysis_want_rights_on_config_maps_in_their_namespace_only() -> None:
    everywhere = {right._replace(namespace="") for _, right in selfcheck.wanted_by_server("")}
    here = {right._replace(namespace="") for _, right in selfcheck.wanted_by_server("here")}

    wanted = {(right.verb, right.group, right.resource) for right in here - everywhere}
    assert _granted("gates", "Role") == wanted
    assert {resource for _, _, resource in wanted} == {"configmaps"}


@pytest.mark.parametrize("way", ["sidecar", "server"])
def test_the_words_that_start_server_and_bridge_are_understood(way: str) -> None:
    served = [m for m in _manifests(way) if m["kind"] == "Deployment"]
    containers = [each for m in served for each in m["spec"]["template"]["spec"]["containers"]]
    (words,) = [each["args"] for each in containers if each.get("args", [""])[0] == "serve"]
    parser = argparse.ArgumentParser()
    options.add_serve(parser)
    found, plugins_own = parser.parse_known_args(words[1:])
    assert options.listening(found).addresses
    assert all(word.startswith("--metrics-") for word in plugins_own)

    (config,) = [m for m in _manifests("bridge" if way == "server" else way) if m["kind"] == "ConfigMap"]
    (entry,) = yaml.safe_load(config["data"]["metricProviderPlugins"])
    assert entry["args"][0] == "bridge"
    assert options.bridge(entry["args"][1:])


def _granted(folder: str, kind: str) -> set[tuple[str, str, str]]:
    (role,) = [m for m in deployed.resources(folder) if m["kind"] == kind]
    return {
        (verb, rule["apiGroups"][0], plural)
        for rule in role["rules"]
        for verb in rule["verbs"]
        for plural in rule["resources"]
    }


def _manifests(folder: str) -> list[Json]:
    return deployed.resources(folder) if folder == "server" else list(rendering.patches(folder))


def test_metrics_of_a_server_are_found_let_through_and_probed() -> None:
    server = {manifest["kind"]: manifest for manifest in deployed.resources("server")}
    (monitor,) = deployed.resources("monitoring")
    pod = server["Deployment"]["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    open_ports = [
        port["port"] for rule in server["NetworkPolicy"]["spec"]["ingress"] for port in rule["ports"]
    ]
    probes = [container[f"{kind}Probe"]["httpGet"] for kind in ("readiness", "liveness")]

    assert f"--metrics-address=:{ports['metrics']}" in container["args"]
    assert [probe["port"] for probe in probes] == ["metrics", "metrics"]
    assert set(open_ports) == set(ports)
    assert monitor["spec"]["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    assert [each["port"] for each in monitor["spec"]["podMetricsEndpoints"]] == ["metrics"]


def test_metrics_of_a_sidecar_are_found_and_probed() -> None:
    (deployment, _) = rendering.patches("sidecar")
    (server,) = [each for each in deployment["spec"]["template"]["spec"]["containers"] if "args" in each]
    (port,) = server["ports"]
    (monitor,) = load_yaml(_OBSERVABILITY / "podmonitor.yaml")
    probes = [server[f"{kind}Probe"]["httpGet"] for kind in ("readiness", "liveness")]

    assert f"--metrics-address=:{port['containerPort']}" in server["args"]
    assert [probe["port"] for probe in probes] == [port["name"]] * 2
    assert monitor["spec"]["selector"]["matchLabels"] == {"app.kubernetes.io/name": "argo-rollouts"}
    assert [each["port"] for each in monitor["spec"]["podMetricsEndpoints"]] == [port["name"]]
    assert f"$1:{port['containerPort']}" in (_OBSERVABILITY / "prometheus.yaml").read_text()


@pytest.mark.parametrize("way", rendering.WAYS)
def test_each_way_registers_the_name_that_the_stories_use(way: str) -> None:
    patches = [patch for folder in rendering.WAYS[way] for patch in rendering.patches(folder)]
    config = [patch for patch in patches if patch["kind"] == "ConfigMap"][-1]
    (entry,) = yaml.safe_load(config["data"]["metricProviderPlugins"])

    assert entry["name"] == PLUGIN
    assert entry["location"].startswith(("file:///", "https://"))
    assert len(entry.get("sha256", "0" * 64)) == 64


def test_every_image_and_address_names_this_version() -> None:
    texts = [file.read_text() for file in rendering.DEPLOY.rglob("*.yaml")]
    named = {found for text in texts for found in re.findall(r"chaosplugin[:/](\d[\w.]*)", text)}

    assert named == {__version__}


@pytest.mark.parametrize("way", rendering.WAYS)
def test_helm_values_say_what_the_components_say(way: str) -> None:
    (values,) = load_yaml(rendering.DEPLOY / "helm" / f"{way}.yaml")
    patches = [patch for folder in rendering.WAYS[way] for patch in rendering.patches(folder)]
    pods = [patch["spec"]["template"]["spec"] for patch in patches if patch["kind"] == "Deployment"]
    containers = [each for pod in pods for each in pod["containers"]]
    config = [patch["data"] for patch in patches if patch["kind"] == "ConfigMap"][-1]
    said = {
        "metricProviderPlugins": yaml.safe_load(config["metricProviderPlugins"]),
        "initContainers": [each for pod in pods for each in pod.get("initContainers", ())],
        "extraContainers": [each for each in containers if "image" in each],
        "volumeMounts": [m for each in containers if "image" not in each for m in each["volumeMounts"]],
        "volumes": [volume for pod in pods for volume in pod["volumes"]],
    }

    assert values == {"controller": {key: value for key, value in said.items() if value}}


@pytest.mark.system
@pytest.mark.timeout(600)  # kubectl is brought from PyPI
@pytest.mark.parametrize("folder", [*_FOLDERS, "monitoring"])
def test_kustomize_builds_the_same_objects(folder: str) -> None:
    built = rendering.kustomized(rendering.DEPLOY / folder)
    objects = [without_namespace(manifest) for manifest in yaml.safe_load_all(built)]

    wanted = deployed.resources(folder)
    assert sorted(map(yaml.safe_dump, objects)) == sorted(map(yaml.safe_dump, wanted))


@pytest.mark.system
@pytest.mark.timeout(600)
def test_kustomize_puts_the_plugin_into_the_controllers_pod(tmp_path: Path) -> None:
    objects = list(yaml.safe_load_all(rendering.installed("sidecar", tmp_path)))
    (pod,) = [m["spec"]["template"]["spec"] for m in objects if m["kind"] == "Deployment"]
    (config,) = [m["data"]["metricProviderPlugins"] for m in objects if m["kind"] == "ConfigMap"]
    mounts = {c["name"]: {m["mountPath"] for m in c["volumeMounts"]} for c in pod["containers"]}

    assert [container["name"] for container in pod["initContainers"]] == ["chaosplugin"]
    assert mounts["argo-rollouts"] >= {"/plugins", "/run/chaosplugin"}
    assert "/run/chaosplugin" in mounts["chaosplugin-server"]
    assert "bridge" in config


@pytest.mark.parametrize("ground", grounds("real-v1.10"), indirect=True)
def test_the_api_server_accepts_all_of_it(ground: Ground, tmp_path: Path) -> None:
    """By a dry run of the server, which validates each field."""
    ground.make_namespace("chaosplugin")
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(ground.api.kubeconfig())
    apply = [rendering.kubectl(), "apply", "--server-side", "--force-conflicts", "--dry-run=server"]
    texts = {folder: rendering.kustomized(rendering.DEPLOY / folder) for folder in _FOLDERS}
    for way in rendering.WAYS:
        (tmp_path / way).mkdir()
        texts[way] = rendering.installed(way, tmp_path / way)
    for name, text in texts.items():
        said = subprocess.run(
            [*apply, "--validate=strict", f"--kubeconfig={kubeconfig}", "--filename=-"],
            input=text,
            capture_output=True,
            text=True,
            check=False,
        )

        assert said.returncode == 0, f"{name}: {said.stderr}"
        assert said.stdout.count("(server dry run)") == text.count("\nkind: ")


def without_namespace(manifest: Json) -> Json:
    """Undo the one thing that a kustomization here adds."""
    metadata = {key: value for key, value in manifest["metadata"].items() if key != "namespace"}
    return {**manifest, "metadata": metadata}
