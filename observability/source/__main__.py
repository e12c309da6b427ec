"""Writes the Grafana dashboards, for `make dashboards`: what is reviewed is here, the JSON is made of it."""

import json
import sys
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from observability.source.gates import ANNOTATIONS, gates
from observability.source.plugin import plugin

FOLDER = Path(__file__).parents[1] / "dashboards"


def rendered(board: Dashboard) -> str:
    """Return a dashboard as it is committed."""
    fields = json.loads(json.dumps(board, cls=JSONEncoder))
    forms = {name: (title, text) for name, _, title, text in ANNOTATIONS}
    for annotation in (fields.get("annotations") or {}).get("list") or ():
        title, text = forms[annotation["name"]]  # fields of Prometheus's own, for which the SDK has no names
        annotation.update(titleFormat=title, textFormat=text, useValueForTime=True, step="30s")
    return json.dumps(fields, indent=2, sort_keys=True) + "\n"


def all_dashboards() -> dict[str, str]:
    """Return the dashboards by the names of their files."""
    return {"gates.json": rendered(gates()), "plugin.json": rendered(plugin())}


if __name__ == "__main__":
    for name, text in all_dashboards().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    sys.exit(0)
