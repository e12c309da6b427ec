"""Keeps secret arguments out of everything that the plugin says, and texts within their limits.

Argo gives the plugin `spec.args[]` that come from Secrets in plain text, and itself redacts only their
literal text in Measurement.message. Here a secret is found literally, as JSON (Python's and Go's way of
escaping) and YAML would quote it, line by line if it has several lines, and where a cut has left only
its beginning. So redaction comes before cutting, and a text that was cut earlier is safe as well.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

MASK = "*****"
"""What Argo Rollouts writes itself (utils/log, WithRedactor)."""

MESSAGE_LIMIT = 1024
"""Bytes of a message; Argo copies it into the status of AnalysisRun and Rollout."""

CUT = "…"

_WORD = 4
"""Shorter secrets are replaced only where they stand alone: a secret "1" must not eat every figure."""
_LINE = 8
"""Shorter lines of a secret of several lines are common words ("spec:"), not secrets."""


def cut(text: str, limit: int = MESSAGE_LIMIT) -> str:
    """Return the text in at most `limit` bytes of UTF-8, with a mark where something was left out."""
    data = text.encode("utf-8", "replace")
    if len(data) <= limit:
        return data.decode()
    mark = CUT.encode()
    return data[: max(0, limit - len(mark))].decode("utf-8", "ignore") + (CUT if limit >= len(mark) else "")


@dataclass(frozen=True, slots=True)
class Redactor:
    """Replaces a fixed set of secrets. Without secrets it returns what it gets."""

    _pattern: re.Pattern[str] | None
    _forms: tuple[str, ...]

    @staticmethod
    def of(secrets: Iterable[str]) -> "Redactor":
        """Build a redactor from `AnalysisRun.spec.args[].secret`; empty ones are no secrets."""
        forms = sorted({form for secret in secrets for form in _forms(secret)}, key=len, reverse=True)
        if not forms:
            return Redactor(None, ())
        return Redactor(re.compile("|".join(map(_expression, forms))), tuple(forms))

    def text(self, text: str, limit: int = MESSAGE_LIMIT) -> str:
        """Return the text without secrets, then cut to `limit` bytes."""
        return cut(self.redact(text), limit)

    def redact(self, text: str) -> str:
        """Return the text without secrets, uncut."""
        if self._pattern is None:
            return text
        return self._ends(self._pattern.sub(MASK, text))

    def _ends(self, text: str) -> str:
        """Replace the beginning of a secret that stands just before a mark of cutting."""
        parts = text.split(CUT)
        return CUT.join([*(self._end(part) for part in parts[:-1]), parts[-1]])

    def _end(self, part: str) -> str:
        longest = 0
        for form in self._forms:
            start = max(len(part) - len(form), 0)
            for position in range(start, len(part) - max(longest, _WORD - 1) + 1):
                if form.startswith(part[position:]):
                    longest = max(longest, len(part) - position)
                    break
        return part[: len(part) - longest] + MASK if longest >= _WORD - 1 else part


def _forms(secret: str) -> Iterable[str]:
    lines = secret.splitlines()
    pieces = (
        [secret] if len(lines) < 2 else [secret, *(s for line in lines if len(s := line.strip()) >= _LINE)]
    )
    for piece in pieces:
        if not piece.strip():
            continue
        quoted = json.dumps(piece, ensure_ascii=False)[1:-1]
        yield piece
        yield quoted
        yield json.dumps(piece)[1:-1]
        yield _go(quoted)
        yield piece.replace("'", "''")  # YAML between single quotes
        yield repr(piece)[1:-1]


def _go(quoted: str) -> str:
    """Escape further what Go's encoding/json does (HTML and JavaScript line ends)."""
    for character in "<>&\u2028\u2029":
        quoted = quoted.replace(character, f"\\u{ord(character):04x}")
    return quoted


def _expression(form: str) -> str:
    text = re.escape(form)
    return text if len(form) >= _WORD else rf"(?<!\w){text}(?!\w)"
