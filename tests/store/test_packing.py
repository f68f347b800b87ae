"""What is sent always can be sent, whatever text a job made."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from jobctl.store import queries
from jobctl.store.calls import Call
from jobctl.store.packing import packed

if TYPE_CHECKING:
    from store_world import World


def test_text_that_is_no_utf8_is_sent_with_escapes() -> None:
    call: Call[object] = Call(("SET", "k", "caf\udce9 é"), lambda reply: reply)

    assert "caf\\udce9 é".encode() in packed(call)


def test_escapes_leave_json_what_it_was() -> None:
    value = {"name": 'caf\udce9 \\ " é'}
    call: Call[object] = Call(("SET", json.dumps(value, ensure_ascii=False)), lambda reply: reply)

    assert json.loads(packed(call).split(b"\r\n")[4]) == value


def test_run_with_an_error_that_is_no_utf8_is_settled(world: World) -> None:
    run_id = world.submit()
    world.claim_one(run_id)

    world.settle(run_id, "x", reason="exception", fields=("at", "1", "er", "no caf\udce9"))

    run = world.run(queries.run(world.keys, run_id))
    assert run is not None
    assert (run.letter, run.error) == ("x", "no caf\\udce9")
