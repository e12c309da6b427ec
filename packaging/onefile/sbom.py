"""The bill of materials, in CycloneDX 1.6."""

import hashlib
import json
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from onefile.parts import Part


def write(file: Path, parts: Sequence[Part], out: Path) -> None:
    """Describe a file; the same file gives the same bytes."""
    (plugin,) = [part for part in parts if part.name == "chaosplugin"]
    others = [part for part in parts if part is not plugin]
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, digest)}",
        "version": 1,
        "metadata": {"component": {**_component("application", plugin), "hashes": _hashes(digest)}},
        "components": [_component("library", part) for part in others],
        "dependencies": [{"ref": plugin.purl, "dependsOn": sorted({part.purl for part in others})}],
    }
    out.write_text(json.dumps(document, indent=1) + "\n")


def _component(kind: str, part: Part) -> dict[str, Any]:
    return {
        "type": kind,
        "bom-ref": part.purl,
        "name": part.name,
        "version": part.version,
        "purl": part.purl,
        "licenses": [{"expression": part.license}],
        **({"hashes": _hashes(part.sha256)} if part.sha256 else {}),
    }


def _hashes(sha256: str) -> list[dict[str, str]]:
    return [{"alg": "SHA-256", "content": sha256}]
