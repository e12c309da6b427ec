"""The objects of a story: a Rollout with a gate in its canary steps, and the gate's AnalysisTemplate."""

from typing import Any

Json = dict[str, Any]
PLUGIN = "chaosplugin/chaos-mesh"
CANARY_REPLICAS = 2
ANALYSIS: Json = {"analysis": {"templates": [{"templateName": "gate"}]}}

POD_FAILURE = """\
apiVersion: chaos-mesh.org/v1alpha1
kind: PodChaos
metadata:
  name: survive-pod-failure
spec:
  action: pod-failure
  mode: all
  duration: {duration}
"""
POD_KILL = """\
apiVersion: chaos-mesh.org/v1alpha1
kind: PodChaos
metadata:
  name: survive-pod-kill
spec:
  action: pod-kill
  mode: one
"""
NAMES_PODS = """\
apiVersion: chaos-mesh.org/v1alpha1
kind: PodChaos
metadata:
  name: leave-the-canary
spec:
  action: pod-kill
  mode: all
  selector:
    pods:
      default: [web-0]
"""


def gate(template: str, **config: object) -> Json:
    """Return an AnalysisTemplate; an Error is final, so that no story waits for Argo's four retries."""
    plugin = {PLUGIN: {"chaosExperimentCRD": template, **config}}
    metric = {"name": "chaos", "consecutiveErrorLimit": 0, "provider": {"plugin": plugin}}
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "AnalysisTemplate",
        "metadata": {"name": "gate"},
        "spec": {"metrics": [metric]},
    }


def retried(template: Json) -> Json:
    """Return a gate whose Errors Argo retries, as is its default."""
    for metric in template["spec"]["metrics"]:
        del metric["consecutiveErrorLimit"]
    return template


def rollout() -> Json:
    """Return a Rollout of four replicas; two are the canary's while the gate is asked."""
    steps = [{"setWeight": 50}, ANALYSIS]
    container = {"name": "web", "image": "web:1"}
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Rollout",
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 2 * CANARY_REPLICAS,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}},
            "strategy": {"canary": {"steps": steps}},
        },
    }


def paused_rollout(*steps: Json) -> Json:
    """Return the same Rollout, whose canary waits for a person after these steps."""
    paused = rollout()
    paused["spec"]["strategy"]["canary"]["steps"] = [{"setWeight": 50}, *steps, {"pause": {}}]
    return paused


def next_version() -> Json:
    """Return the patch that begins a canary."""
    return {"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "web:2"}]}}}}
