"""Sessions recorded between Go ends, replayed with each end played by ours."""

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from chaosplugin.wire import yamux
from chaosplugin.wire.errors import ProtocolError, RemoteProtocolError

GOLDEN = Path(__file__).parent.parent / "golden"
Vector = dict[str, Any]
SCENARIOS: list[Vector] = json.loads((GOLDEN / "yamux.json").read_text())["vectors"]
WHOLE_SESSIONS: list[Vector] = json.loads((GOLDEN / "session.json").read_text())["vectors"]

BETWEEN_GO_ENDS = [v for v in SCENARIOS if not v["name"].startswith("hand/")]
BY_HAND = [v for v in SCENARIOS if v["name"].startswith("hand/")]

CONFIGS = {
    ("reset-backlog", "server"): yamux.Config(accept_backlog=2),
    ("backlog-blocks", "client"): yamux.Config(accept_backlog=2),
    ("window-larger", "server"): yamux.Config(receive_window=524288),
    ("reset-after-close-timeout", "client"): yamux.Config(keep_alive_s=1000),
}
# Go forgets to acknowledge a stream whose FIN came before it was accepted; ours never does.
ACKNOWLEDGED_BY_US = {
    ("close-before-accept", "server"): [bytes.fromhex("000100020000000100000000")],
    ("hand/syn-fin-on-data", "server"): [bytes.fromhex("000100020000000100000000")],
    ("hand/three-in-one", "server"): [bytes.fromhex("000100020000000300000000")],
}
GO_AWAY_1 = bytes.fromhex("000300000000000000000001")

Cut = Callable[[bytes], Iterator[bytes]]


def whole(data: bytes) -> Iterator[bytes]:
    yield data


def byte_by_byte(data: bytes) -> Iterator[bytes]:
    """The header and the beginning of the body; a window of 262144 bytes ends in larger pieces."""
    for i in range(min(len(data), 5000)):
        yield data[i : i + 1]
    yield from in_thousands(data[5000:])


def in_thousands(data: bytes) -> Iterator[bytes]:
    for i in range(0, len(data), 1000):
        yield data[i : i + 1000]


def frame_bytes(event: Vector) -> bytes:
    fill = event.get("fill")
    middle = bytes.fromhex(fill["byte"]) * fill["length"] if fill else b""
    return bytes.fromhex(event["hex"]) + middle + bytes.fromhex(event.get("tail", ""))


def payload(event: Vector) -> bytes:
    return frame_bytes(event)[12:]


@dataclass
class Player:
    """Does with our session what a recorded Go end did."""

    role: str
    config: yamux.Config
    cut: Cut = whole
    now: float = 0.0
    dead: str = ""
    sent: bytearray = field(default_factory=bytearray)
    unread: dict[yamux.StreamId, bytearray] = field(default_factory=dict)
    offered: list[yamux.StreamId] = field(default_factory=list)
    ended: set[int] = field(default_factory=set)
    unsent: dict[int, bytes] = field(default_factory=dict)
    opening: int = 0

    def __post_init__(self) -> None:
        role = yamux.Role.SERVER if self.role == "server" else yamux.Role.CLIENT
        self.session = yamux.Session(role, now=0.0, config=self.config)

    def receive(self, data: bytes) -> None:
        for piece in self.cut(data):
            if not self.dead:
                try:
                    self.session.receive_data(piece)
                except RemoteProtocolError as error:
                    self.dead = str(error)
            self.work()

    def work(self) -> None:
        for event in self.session.events():
            match event:
                case yamux.StreamOpened(id_):
                    self.offered.append(id_)
                    self.unread[id_] = bytearray()
                case yamux.DataReceived(id_, data):
                    self.unread[id_] += data
                case yamux.StreamEnded(id_) | yamux.StreamReset(id_):
                    self.ended.add(id_)
                case yamux.StreamAccepted() | yamux.WindowOpened() | yamux.GoAwayReceived():
                    pass
        with contextlib.suppress(yamux.BacklogFull):
            while self.opening:
                self.open()
                self.opening -= 1
        for number, rest in list(self.unsent.items()):
            self.write(number, rest)
        self.sent += self.session.data_to_send()

    def open(self) -> None:
        self.unread[self.session.open(self.now)] = bytearray()

    def write(self, id_: int, data: bytes) -> None:
        taken = self.session.send(yamux.StreamId(id_), data)
        self.unsent[id_] = data[taken:]
        if not self.unsent[id_]:
            del self.unsent[id_]

    def read(self, id_: int, size: int) -> None:
        del self.unread[yamux.StreamId(id_)][:size]
        self.session.consumed(yamux.StreamId(id_), size)

    def wait(self, seconds: float) -> None:
        self.now += seconds
        try:
            self.session.tick(self.now)
        except RemoteProtocolError as error:
            self.dead = str(error)


def next_payload(events: list[Vector], at: int, id_: int, who: str) -> bytes:
    """What the end wrote stands in its data frames up to the line that tells of the write."""
    return next(
        payload(e)
        for e in reversed(events[:at])
        if e.get("from") == who and e.get("type") == "data" and e["stream"] == id_
    )


def act(player: Player, events: list[Vector], at: int) -> None:  # noqa: C901, PLR0912  a table of sentences
    """Do what line `at` says, if it is about this end and worked."""
    words = events[at]["do"].split()
    result = str(events[at].get("result", ""))
    if words[0] != player.role:
        return
    match words[1:]:
        case ["begins", "to", "open", *_]:
            player.opening += 1
        case ["opens", *_]:
            known = {i for i in player.unread if i % 2 == (player.role == "client")}
            if result == "session shutdown":
                return  # the socket is gone, which a session does not see
            if not result.isdigit():
                with pytest.raises(ProtocolError):
                    player.session.open(player.now)
            elif int(result) not in known:
                player.open()
        case ["accepts"]:
            assert str(player.offered[0]) == result
            player.session.accept(player.offered.pop(0))
        case ["begins", "to", "write", size, *_]:
            player.write(1, b"w" * int(size))
        case ["writes", size, "bytes", "to", id_] if result.startswith("0 "):
            with pytest.raises(ProtocolError):
                player.session.send(yamux.StreamId(int(id_)), b"x" * int(size))
        case ["writes", size, "bytes", "to", id_] if int(size) != 400000:
            player.write(int(id_), next_payload(events, at, int(id_), player.role))
        case ["reads", size, "bytes", "from", id_]:
            if result.startswith("0 "):
                assert int(id_) in player.ended or events[at - 1].get("eof") or "session" in str(events)
            else:
                player.read(int(id_), int(size))
        case ["closes", id_] if id_.isdigit():
            with_fin = b"\x00\x01\x00\x04" + int(id_).to_bytes(4, "big") + bytes(4)
            if with_fin not in player.sent:
                player.session.end(yamux.StreamId(int(id_)), player.now)
        case ["goes", "away"]:
            player.session.go_away()
        case _:  # pings and the end of a session: see replay
            pass


def expected_frames(vector: Vector, role: str) -> list[bytes]:
    frames = [frame_bytes(e) for e in vector["events"] if e.get("from") == role and "hex" in e]
    return [*ACKNOWLEDGED_BY_US.get((vector["name"], role), []), *frames]


def frames_of(data: bytes | bytearray) -> list[bytes]:
    data = bytes(data)
    frames = []
    while data:
        size = 12 + (int.from_bytes(data[8:12], "big") if data[1] == 0 else 0)
        frames.append(bytes(data[:size]))
        data = data[size:]
    return frames


def replay(vector: Vector, role: str, cut: Cut) -> Player:
    player = Player(role, CONFIGS.get((vector["name"], role), yamux.Config()), cut)
    events = vector["events"]
    for at, event in enumerate(events):
        if "do" in event:
            act(player, events, at)
        elif event["from"] == role:
            if event.get("type") == "ping" and "SYN" in event["flags"]:
                player.wait(30)
            if event.get("flags") == ["RST"] and vector["name"] == "reset-after-close-timeout":
                player.wait(300)
        elif "hex" in event:
            player.receive(frame_bytes(event))
        player.work()
    return player


def cases(vectors: list[Vector], *roles: str) -> list[Any]:
    return [pytest.param(v, role, id=f"{v['name']}-{role}") for v in vectors for role in roles]


@pytest.mark.parametrize("cut", [whole, byte_by_byte, in_thousands])
@pytest.mark.parametrize(("vector", "role"), cases(BETWEEN_GO_ENDS, "client", "server"))
def test_each_end_sends_the_frames_that_go_sent(vector: Vector, role: str, cut: Cut) -> None:
    player = replay(vector, role, cut)

    expected = expected_frames(vector, role)
    if vector["name"] == "keepalive":  # whether a ping or an answer goes first was chance
        assert sorted(frames_of(player.sent)) == sorted(expected)
    elif (vector["name"], role) == ("window-larger", "client"):  # ours cuts half a million bytes in two
        assert b"".join(f[12:] for f in frames_of(player.sent)) == b"".join(f[12:] for f in expected)
    else:
        assert frames_of(player.sent) == expected


def test_go_gives_up_as_we_do_when_nobody_accepts() -> None:
    vector = next(v for v in SCENARIOS if v["name"] == "open-timeout")
    player = Player("client", yamux.Config(keep_alive_s=1000))
    act(player, vector["events"], 1)
    player.wait(74.9)
    assert "accepted" not in player.dead

    player.wait(0.2)
    assert player.dead == "stream 1 was not accepted within 75 s"


@pytest.mark.parametrize("cut", [whole, byte_by_byte, in_thousands])
@pytest.mark.parametrize("vector", [pytest.param(v, id=v["name"]) for v in BY_HAND])
def test_a_server_of_ours_does_what_go_did_with_frames_made_by_hand(vector: Vector, cut: Cut) -> None:
    player = Player("server", yamux.Config(), cut)
    for event in vector["events"]:
        if event.get("from") == "client" and "hex" in event:
            player.receive(frame_bytes(event))
            while player.offered and not player.dead:
                player.session.accept(player.offered.pop(0))
            player.work()

    closed = any(e.get("from") == "server" and e.get("eof") for e in vector["events"])
    sent = frames_of(player.sent)
    if player.dead and sent and sent[-1] == GO_AWAY_1:
        sent.pop()  # Go queues it as well, and closes the socket before it is written
    assert bool(player.dead) == closed
    assert sorted(sent) == sorted(expected_frames(vector, "server"))


@pytest.mark.parametrize("cut", [whole, byte_by_byte, in_thousands])
@pytest.mark.parametrize("vector", [pytest.param(v, id=v["name"]) for v in WHOLE_SESSIONS])
def test_a_whole_session_of_go_plugin_is_followed(vector: Vector, cut: Cut) -> None:
    player = Player("server", yamux.Config(), cut)
    got: dict[int, bytearray] = {}
    frames = [e for e in vector["events"] if "hex" in e]
    for event in frames:
        if event["from"] == "client":
            player.receive(frame_bytes(event))
        elif event["type"] == "data":
            player.write(event["stream"], payload(event))
        while player.offered:
            player.session.accept(player.offered.pop(0))
        for id_, data in player.unread.items():
            got.setdefault(id_, bytearray()).extend(data)
            player.read(id_, len(data))
        player.work()

    assert not player.dead
    assert {i: d for i, d in got.items() if d} == written(frames, "client")
    assert player.ended == {1, 3, 5}
    sent = [f for f in frames_of(player.sent) if f[1] == 0]
    assert written([vector_of(f) for f in sent], "server") == written(frames, "server")


def vector_of(frame: bytes) -> Vector:
    return {"from": "server", "type": "data", "stream": frame[7], "hex": frame.hex()}


def written(frames: list[Vector], who: str) -> dict[int, bytearray]:
    """All bytes of each stream."""
    streams: dict[int, bytearray] = {}
    for event in frames:
        if event["from"] == who and event["type"] == "data":
            streams.setdefault(event["stream"], bytearray()).extend(payload(event))
    return streams


@pytest.mark.parametrize("vector", [pytest.param(v, id=v["name"]) for v in SCENARIOS[:12]])
def test_trailing_bytes_wait_for_the_rest_of_their_frame(vector: Vector) -> None:
    pings = bytes.fromhex("000200010000000000000063")
    player = replay(vector, "server", whole)
    before = bytes(player.sent)
    for byte in range(11):
        player.receive(pings[byte : byte + 1])
    assert player.sent == before

    player.receive(pings[11:] + pings)
    assert player.sent == before + bytes.fromhex("000200020000000000000063") * 2
