"""A guarded YAML reader for text that strangers write: manifests in AnalysisTemplates, kubeconfigs.

PyYAML's loaders recurse and expand: 200 KB of `[` kill the process, 413 bytes of aliases fill the memory.
Here only its events are used (libyaml's, else those of the pure Python parser); an iterative composer
builds plain values and stops at the first thing that Kubernetes' objects do not need. One document, no
aliases, no merge keys, no tags but the core ones for text, map and sequence, no key twice.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import yaml

from chaosplugin.kube.scalars import Scalar, resolve

_MAX_BYTES = 1 << 20
_MAX_DEPTH = 64
_MAX_NODES = 100_000
_MAX_SCALAR_BYTES = 256 << 10
_TAG_DIRECTIVE = re.compile("(?:^\ufeff?|[\r\x85\u2028\u2029])%TAG[ \t]", re.MULTILINE)
"""libyaml compares each with all before it: 1 MiB of them would hold the process for half a minute."""
_TAGS = {
    yaml.ScalarEvent: "tag:yaml.org,2002:str",
    yaml.MappingStartEvent: "tag:yaml.org,2002:map",
    yaml.SequenceStartEvent: "tag:yaml.org,2002:seq",
}
_Loader: type = getattr(
    yaml, "CSafeLoader", yaml.SafeLoader
)  # built without libyaml, PyYAML has no CSafeLoader


class YAMLError(ValueError):
    """Text that is not the YAML we take; `line` and `column` count from 1, and are 0 where there is none."""

    def __init__(self, problem: str, line: int = 0, column: int = 0) -> None:
        super().__init__(f"line {line}, column {column}: {problem}" if line else problem)
        self.line = line
        self.column = column


def load(text: str) -> object:
    """Read exactly one document into dict, list, str, int, float, bool and None; keys are always str.

    Empty ones after it, as a `---` at the end makes, do not count.

    Raises:
        YAMLError: not YAML, or more than the guard allows; says where, what was met and what is allowed.
    """
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise YAMLError(
            f"character {error.start + 1} is half a surrogate pair, which no YAML may hold"
        ) from None
    if size > _MAX_BYTES:
        raise YAMLError(f"{size} bytes, at most {_MAX_BYTES} are allowed")
    if directive := _TAG_DIRECTIVE.search(text):
        line = text.count("\n", 0, directive.end()) + 1
        raise YAMLError("a %TAG directive, directives for tags are not allowed", line, 1)
    return _compose(_events(text))


def _events(text: str) -> Iterator[yaml.Event]:
    try:
        yield from yaml.parse(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        problem = ", ".join(part for part in (error.context, error.problem) if part) or "not YAML"
        mark = error.problem_mark or error.context_mark
        raise YAMLError(problem, mark.line + 1 if mark else 0, mark.column + 1 if mark else 0) from None
    except yaml.YAMLError as error:  # the reader's: a character that YAML does not allow
        raise YAMLError(str(error).splitlines()[0]) from None


@dataclass(slots=True)
class _Open:
    """A collection whose end has not come yet."""

    value: dict[str, object] | list[object]
    key: str | None = field(default=None)

    def add(self, value: object) -> None:
        if isinstance(self.value, list):
            self.value.append(value)
        elif self.key is not None:
            self.value[self.key] = value
            self.key = None


def _compose(events: Iterator[yaml.Event]) -> object:
    done: list[object] = []
    root = _Open(done)
    stack = [root]
    nodes = documents = 0
    for event in events:
        match event:
            case yaml.DocumentStartEvent():
                documents += 1
                if documents > 1 and not _is_empty(next(events)):  # as after a `---` at the end
                    raise _error(event, "a second document, one is allowed")
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                stack.pop()
            case yaml.AliasEvent():
                raise _error(event, f"alias *{event.anchor}, aliases are not allowed: write the value out")
            case yaml.NodeEvent():
                nodes += 1
                if nodes > _MAX_NODES:
                    raise _error(event, f"more than {_MAX_NODES} values")
                _check_tag(event)
                _node(event, stack)
            case _:  # the stream's start and end, and the document's end
                pass
    if not documents:
        raise YAMLError("no document: the text is empty")
    return done[0]


def _is_empty(event: yaml.Event) -> bool:
    """Tell whether a document is one of which nothing is written, by the first event in it."""
    return isinstance(event, yaml.ScalarEvent) and event.implicit[0] and not (event.value or event.anchor)


def _node(event: yaml.NodeEvent, stack: list[_Open]) -> None:
    top = stack[-1]
    wants_key = isinstance(top.value, dict) and top.key is None
    if isinstance(event, yaml.ScalarEvent):
        if len(event.value.encode()) > _MAX_SCALAR_BYTES:
            raise _error(event, f"a text of more than {_MAX_SCALAR_BYTES} bytes")
        if wants_key:
            _set_key(event, top)
        else:
            top.add(_scalar(event))
        return
    if wants_key:
        raise _error(event, "a map or sequence as a key, only text is allowed")
    if len(stack) > _MAX_DEPTH:
        raise _error(event, f"nested deeper than {_MAX_DEPTH} levels")
    opened = _Open({} if isinstance(event, yaml.MappingStartEvent) else [])
    top.add(opened.value)
    stack.append(opened)


def _set_key(event: yaml.ScalarEvent, top: _Open) -> None:
    if event.value == "<<" and event.implicit[0]:
        raise _error(event, "merge key <<, merge keys are not allowed: write the keys out")
    if event.value in top.value:
        raise _error(event, f"key {event.value[:80]!r} for the second time in one map")
    top.key = event.value


def _scalar(event: yaml.ScalarEvent) -> Scalar:
    if not event.implicit[0]:  # quoted, a block, or tagged as text
        return event.value
    try:
        return resolve(event.value)
    except ValueError as error:
        raise _error(event, str(error)) from None


def _check_tag(event: yaml.NodeEvent) -> None:
    tag = getattr(event, "tag", None)
    if tag is not None and tag != _TAGS.get(type(event)):
        raise _error(event, f"tag {tag[:80]!r}, only !!str, !!map and !!seq are allowed, on their kinds")


def _error(event: yaml.Event, problem: str) -> YAMLError:
    mark = event.start_mark
    return YAMLError(problem, mark.line + 1, mark.column + 1) if mark else YAMLError(problem)
