"""What the soak and the wire measure with: a bound that cannot be met would call every leak flat."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, Any

import pytest

from chaos import wire
from chaos.gauges import Gauges, Growth, Sample
from chaos.leaks import Leaks
from chaos.soak import grown
from chaos.survivors import Survivor, compare
from chaos.table import lacking
from chaos.wire import Direction, Packet, Wire, parse

if TYPE_CHECKING:
    from collections.abc import Callable


def growth_of(**lives: list[float]) -> dict[str, Growth]:
    """Return the rows of roles whose one process held so many KiB, one value a minute."""
    gauges = Gauges(None)  # type: ignore[arg-type]  # nothing is sampled here
    for role, kibs in lives.items():
        gauges._samples[role.replace("_", " ")] = [
            Sample((7, 1.0), age * 60.0, kib, 20 + age) for age, kib in enumerate(kibs)
        ]
    return {row.role: row for row in gauges.growth()}


def test_what_a_process_takes_at_first_is_no_leak() -> None:
    rows = growth_of(pools_calm=[1000.0, 4000, 5000, 5900, 6000] + [6000.0] * 13)
    row = rows["pools calm"]
    assert (row.minutes, row.middle, row.last) == (17, 6000, 6000)
    assert (row.processes, row.samples, row.high, row.descriptors) == (1, 18, 6000, 37)
    assert grown([row]) == []


def test_a_process_that_goes_on_growing_leaks() -> None:
    rows = growth_of(pools_calm=[5000.0 + 100 * minute for minute in range(18)])
    assert grown([*rows.values()]) == ["pools calm went from 5850 to 6450 KiB"]


def test_a_host_whose_processes_end_early_is_held_against_the_calm_one() -> None:
    rows = growth_of(pools_calm=[6000.0] * 18, pools_a=[6000.0, 7600], pools_b=[6000.0, 7400])
    assert grown([*rows.values()]) == ["pools a had 7600 KiB"]


def test_a_key_that_no_run_needs_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    class Nowhere:
        hosts: dict[str, Any] = {}  # noqa: RUF012

    leaks = Leaks(Nowhere())  # type: ignore[arg-type]
    names = ["r:abc", "h:work", "sup:a", "due"]
    monkeypatch.setattr(leaks, "_names", lambda: names)
    assert leaks.found() == []
    monkeypatch.setattr("chaos.leaks.until", _at_once)
    for left in ("u:5f", "own:a/default.1", "c:two", "live:careful"):
        names.append(left)
        assert leaks.found() == [f"key {left} is left"]
        names.pop()


def _at_once(condition: Callable[[], object], what: str, **_: object) -> None:
    from chaos.waits import expect  # noqa: PLC0415

    expect(condition(), what)


def test_a_survivor_that_is_not_as_it_was_is_told_of() -> None:
    class Place:
        class Executions:
            @staticmethod
            def count(_run: str) -> int:
                return 2

        executions = Executions()
        directory: Any = None

        class Keys:
            @staticmethod
            def history(_job: str) -> str:
                return "h"

        keys = Keys()

        def record(self, _run: str) -> dict[str, str]:
            return {"pi": "8", "at": "2", "rc": "4", "s": "x"}

        def raw(self, *_words: object) -> list[bytes]:
            return [b"r1", b"r1"]

    class Host:
        def run(self, *_words: str) -> str:
            return "line 1 of r1\nline 3 of r1"

    one = Survivor("r1", "talk", 7, 1.0, 3, alive=True)
    compare(Place(), Host(), one, wrote=3)  # type: ignore[arg-type]
    assert one.wrong == (
        "another process, another attempt, ran again, not finished once, wrong exit code, "
        "the log is not whole"
    )


def a_packet(payload: bytes, *, source: int = 7000, target: int = 40000) -> bytes:
    total = 40 + len(payload)
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, total, 0, 0, 64, 6, 0, b"abcd", b"efgh")
    tcp = struct.pack("!HHIIBBHHH", source, target, 1, 1, 5 << 4, 0, 0, 0, 0)
    return head + tcp + payload


def test_ports_and_payload_of_a_packet_are_read() -> None:
    assert parse(a_packet(b"PING")) == Packet(7000, 40000, b"PING")
    assert parse(b"\x60" + bytes(60)) == Packet(0, 0, b"")


def test_a_direction_loses_delays_and_holds_back() -> None:
    way = Direction(loss=0.5, delay=0.1, rate=100.0)
    way.take(bytes(50), 0.4, 10.0)
    way.take(bytes(50), 0.6, 10.0)
    way.take(bytes(50), 0.6, 10.0)
    assert (way.lost, way.carried) == (1, 2)
    assert [due for due, _ in way.under_way] == pytest.approx([10.6, 11.1])
    way.drops = lambda packet: packet.payload == b"PING"
    way.take(a_packet(b"PING"), 0.9, 20.0)
    assert way.lost == 2


@pytest.mark.skipif(bool(lacking("netns")), reason=lacking("netns") or "can be made")
def test_a_wire_carries_until_it_is_cut() -> None:
    made = Wire(1).start()
    try:
        with made.store.inside():
            server = socket.create_server((wire.STORE, 7000))
        with made.host.inside():
            client = socket.create_connection((wire.STORE, 7000), timeout=5)
        end, _ = server.accept()
        end.sendall(b"hello")
        assert client.recv(5) == b"hello"
        made.cut()
        end.sendall(b"lost")
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.recv(4)
        made.mend()
        client.settimeout(10)
        assert client.recv(4) == b"lost"
        for one in (client, end, server):
            one.close()
    finally:
        made.close()
    # This process is where it was.
    assert socket.create_server(("127.0.0.1", 0)).close() is None
