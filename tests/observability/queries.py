"""The queries of the committed dashboards and rules."""

import json
from collections.abc import Iterator
from pathlib import Path

import yaml

FOLDER = Path(__file__).parents[2] / "observability"
_VARIABLES = {"$__rate_interval": "20s", "$__range": "5m", "$namespace": ".*", "$rollout": ".*"}


def panels() -> Iterator[tuple[str, str]]:
    """Yield title and query of each target and each annotation, as they stand there."""
    for file in sorted((FOLDER / "dashboards").glob("*.json")):
        board = json.loads(file.read_text())
        for panel in board["panels"]:
            for target in panel["targets"]:
                yield panel["title"], target["expr"]
        for annotation in (board.get("annotations") or {}).get("list") or ():
            yield annotation["name"], annotation["expr"]


def expressions() -> list[str]:
    return [expr for _, expr in panels()]


def rules(kind: str) -> dict[str, str]:
    """Return the rules of a kind, `record` or `alert`: queries by their names."""
    groups = yaml.safe_load((FOLDER / "rules.yaml").read_text())["groups"]
    return {rule[kind]: rule["expr"] for group in groups for rule in group["rules"] if kind in rule}


def filled(expr: str) -> str:
    """Put in what Grafana would, with all namespaces and Rollouts chosen."""
    for name, value in _VARIABLES.items():
        expr = expr.replace(name, value)
    return expr
