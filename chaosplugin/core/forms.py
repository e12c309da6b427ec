"""Narrowing of values that strangers wrote, with an error that names the key.

Arguments of an AnalysisTemplate are text, so a setting takes "true", "5m" and "3" for a boolean, a
duration and a number. The fields of an experiment are not settings: there text is text.
"""

import re
from collections.abc import Mapping
from datetime import timedelta

from chaosplugin.core import duration
from chaosplugin.core.duration import BadDuration
from chaosplugin.core.refusal import InvalidConfig, nearest, quote


def mapping(key: str, value: object) -> dict[str, object]:
    """Narrow to an object."""
    if not isinstance(value, dict):
        raise InvalidConfig(key, met(value), "an object")
    return {str(name): item for name, item in value.items()}


def optional(key: str, value: object) -> dict[str, object]:
    """Narrow to an object; absent is empty."""
    return {} if value is None else mapping(key, value)


def known(key: str, given: Mapping[str, object], names: tuple[str, ...]) -> None:
    """Refuse an object with a key that is not among the names."""
    for name in given:
        if name not in names:
            raise InvalidConfig(
                key, f"the unknown key {quote(name)}", "known keys only", nearest(name, names)
            )


def pairs(key: str, value: object) -> dict[str, str]:
    """Narrow to an object of texts; absent is empty."""
    return {name: text(f"{key}.{name}", item) for name, item in optional(key, value).items()}


def texts(key: str, value: object) -> list[str]:
    """Narrow to a list of texts; absent is empty."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise InvalidConfig(key, met(value), "a list of texts")
    return [text(f"{key}[{index}]", item) for index, item in enumerate(value)]


def text(key: str, value: object) -> str:
    """Narrow to text; absent is empty."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InvalidConfig(
            key, met(value), "text", "put it between quotes" if isinstance(value, int | float) else ""
        )
    return value


def met(value: object) -> str:
    """Say what stands there."""
    return "nothing" if value is None else quote(value)


# -- settings


def boolean(key: str, value: object) -> bool:
    """Take true, false, and their texts."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in {"true", "false"}:
        return value.strip().lower() == "true"
    raise InvalidConfig(key, met(value), "true or false")


def number(key: str, value: object, least: int, most: int) -> int:
    """Take a whole number, or its text."""
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,9}", value.strip()):
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
        return value
    raise InvalidConfig(key, met(value), f"a whole number from {least} to {most}")


def go_duration(key: str, value: object, wanted: str) -> timedelta:
    """Take a Go duration of any length; of a number it is told that its unit is missing."""
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        raise InvalidConfig(key, met(value), wanted)
    try:
        return duration.parse(str(value))
    except BadDuration as error:
        raise InvalidConfig(key, met(value), wanted, str(error)) from None


def span(key: str, value: object, least: timedelta, most: timedelta, example: str) -> timedelta:
    """Take a Go duration."""
    wanted = f"a Go duration such as {example}, from {duration.text(least)} to {duration.text(most)}"
    given = go_duration(key, value.strip() if isinstance(value, str) else value, wanted)
    if not least <= given <= most:
        raise InvalidConfig(key, quote(value), wanted)
    return given
