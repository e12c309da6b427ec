"""The table of states against Go's rules, and against its own documentation."""

import re
from pathlib import Path

import pytest

from chaosplugin.wire.yamux import states
from chaosplugin.wire.yamux.states import TRANSITIONS, Input, State

ENDED = {State.SYN_RECEIVED_ENDED, State.REMOTE_CLOSED}
PEER = {Input.RECEIVE_SYN, Input.RECEIVE_ACK, Input.RECEIVE_DATA, Input.RECEIVE_FIN, Input.RECEIVE_RST}
LIVE = [state for state in State if state not in {State.IDLE, State.CLOSED}]


def test_every_state_is_explained_and_no_other() -> None:
    explained = re.findall(r"^ {4}([A-Z_]+) {2,}\w", str(states.__doc__), re.MULTILINE)
    assert explained == [state.name for state in State]


def test_every_state_has_its_row() -> None:
    assert list(TRANSITIONS) == list(State)


def test_every_state_can_be_reached_and_left() -> None:
    reached = {after for row in TRANSITIONS.values() for after in row.values()}
    assert reached == set(State) - {State.IDLE}
    assert [state for state, row in TRANSITIONS.items() if not row] == [State.CLOSED]


@pytest.mark.parametrize("state", LIVE)
def test_a_reset_closes_whatever_the_state(state: State) -> None:
    assert TRANSITIONS[state][Input.RECEIVE_RST] is State.CLOSED
    assert TRANSITIONS[state][Input.SEND_RST] is State.CLOSED


@pytest.mark.parametrize("state", LIVE)
def test_the_peer_ends_its_side_once(state: State) -> None:
    assert (Input.RECEIVE_FIN in TRANSITIONS[state]) == (state not in ENDED)


@pytest.mark.parametrize("state", LIVE)
def test_data_changes_no_state(state: State) -> None:
    for what in (Input.RECEIVE_DATA, Input.SEND_DATA):
        assert TRANSITIONS[state].get(what, state) is state


@pytest.mark.parametrize("state", LIVE)
def test_a_live_stream_is_not_opened_again(state: State) -> None:
    assert Input.RECEIVE_SYN not in TRANSITIONS[state]
    assert Input.SEND_SYN not in TRANSITIONS[state]


def test_after_our_fin_nothing_but_a_reset_is_sent() -> None:
    sends = set(Input) - PEER
    after_fin = {row[Input.SEND_FIN] for row in TRANSITIONS.values() if Input.SEND_FIN in row}
    for state in after_fin:
        assert set(TRANSITIONS[state]) & sends <= {Input.SEND_RST}


NAMES = {"RECEIVE": "got", "SEND": "sent"}


def named(what: Input) -> str:
    side, frame = what.name.split("_")
    return f"{NAMES[side]} {frame}"


def as_markdown() -> str:
    lines = ["| state | leaves it by | stays in it with |", "|---|---|---|"]
    for state, row in TRANSITIONS.items():
        leaving = "; ".join(f"{named(w)} → `{after.name}`" for w, after in row.items() if after is not state)
        staying = ", ".join(named(what) for what, after in row.items() if after is state)
        lines.append(f"| `{state.name}` | {leaving} | {staying} |")
    return "\n".join(lines)


def test_the_table_in_the_documentation_is_this_one() -> None:
    """After a change, put what `expected` shows between the two comments."""
    page = Path(__file__).parents[3] / "docs" / "go-plugin-netrpc.md"
    written = page.read_text().partition("<!-- states -->\n")[2].partition("\n<!-- end of states -->")[0]

    expected = as_markdown()
    assert written == expected
