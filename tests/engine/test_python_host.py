from __future__ import annotations

import asyncio
import select
import signal
from typing import TYPE_CHECKING

import pytest
from python_children import Bench, staged, until

from jobctl.engine.python_host import ChildDiedError, PythonCall

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    bench = Bench(tmp_path)
    bench.write("import os\ndef echo(v): return v\ndef die(): os._exit(3)\n")
    return bench


@staged
async def test_calls_on_their_way_are_answered_in_order(bench: Bench) -> None:
    bench.start()
    order: list[str | None] = []

    async def one(number: int) -> None:
        order.append((await bench.call("echo", number)).result)

    await asyncio.gather(*map(one, range(50)))
    assert order == [str(number) for number in range(50)]
    assert bench.child.calls == 50


@staged
async def test_death_is_blamed_on_the_oldest_call_only(bench: Bench) -> None:
    bench.start()
    calls = [bench.call("echo", 1), bench.call("die"), bench.call("echo", 2), bench.call("echo", 3)]
    first, *others = await asyncio.gather(*calls, return_exceptions=True)
    assert first.result == "1"
    assert [error.started for error in others] == [True, False, False]
    assert bench.reap() == 3 << 8
    with pytest.raises(ChildDiedError) as caught:
        await bench.call("echo", 4)
    assert not caught.value.started


@staged
async def test_more_than_the_socket_holds_is_sent_piece_by_piece(bench: Bench) -> None:
    bench.start()
    texts = [str(number) * 1_000_000 for number in range(8)]
    calls = [bench.call("echo", text, max_result=2_000_000) for text in texts]
    replies = await asyncio.gather(*calls)
    assert [reply.result for reply in replies] == [f'"{text}"' for text in texts]


@pytest.mark.parametrize(
    "frame",
    [
        b"hello, world",
        b"jc\x01\x03" + (1 << 30).to_bytes(4, "big") + bytes(4),
        b"jc\x01\x03" + (2).to_bytes(4, "big") + (1 << 30).to_bytes(4, "big") + b"{}",
        b"jc\x09\x03" + bytes(8),
        b"jc\x01\x03" + (2).to_bytes(4, "big") + bytes(4) + b"{}",
        b"jc\x01\x03" + (2).to_bytes(4, "big") + bytes(4) + b"[]",
        b"jc\x01\x03" + (9).to_bytes(4, "big") + bytes(4) + b'{"seq":1}',
        b"jc\x01\x03" + (60_000).to_bytes(4, "big") + bytes(4) + b"[" * 60_000,
        b"jc\x01\x03" + (11).to_bytes(4, "big") + bytes(4) + b'{"seq":999}',
    ],
)
@staged
async def test_child_that_writes_garbage_is_killed(bench: Bench, frame: bytes) -> None:
    bench.write(
        "import os, sys, time\n"
        f"def go():\n    os.write({{fd}}, {frame!r})\n    time.sleep(60)\n".replace(
            "{fd}", "sys.modules['_jobctl_child'].CHILD.socket.fileno()"
        )
    )
    with pytest.raises(ChildDiedError) as caught:
        await bench.call("go")
    assert caught.value.started
    assert bench.reap() == signal.SIGKILL


@staged
async def test_closed_child_ends_by_itself(bench: Bench) -> None:
    bench.write("import atexit\natexit.register(open, '../ended', 'w')\ndef go(): pass\n")
    await bench.call("go")
    bench.child.close()
    assert bench.reap() == 0
    assert (bench.directory / "ended").exists()


@staged
async def test_closing_ends_the_wait_for_a_running_call(bench: Bench) -> None:
    bench.write("import signal\ndef go():\n    print('in', flush=True)\n    signal.pause()\n")
    running = asyncio.ensure_future(bench.call("go"))
    await until(lambda: bench.log.exists() and bench.output)
    bench.child.close()
    with pytest.raises(ChildDiedError):
        await running


@staged
async def test_answer_read_with_the_death_is_not_lost(bench: Bench) -> None:
    bench.start()
    await bench.child.ready()
    text = "x" * 100_000
    running = asyncio.ensure_future(bench.call("echo", text))
    await asyncio.sleep(0)
    wire = bench.child._wire
    wire._loop.remove_reader(wire._socket)
    await until(lambda: _readable(wire._socket.fileno()))
    signal.pidfd_send_signal(bench.child.pidfd, signal.SIGKILL)
    bench.reap()
    bench.child.close()
    assert (await running).result == f'"{text}"'


def _readable(fd: int) -> bool:
    return bool(select.select([fd], [], [], 0)[0])


@staged
async def test_cancelled_wait_leaves_the_child_usable(bench: Bench) -> None:
    bench.start()
    await bench.child.ready()
    running = asyncio.ensure_future(bench.call("echo", 1))
    await asyncio.sleep(0)
    running.cancel()
    assert (await bench.call("echo", 2)).result == "2"
    assert running.cancelled()


@staged
async def test_log_that_is_not_open_is_the_callers_error(bench: Bench) -> None:
    child = bench.start()
    call = PythonCall(run_id="r", target="jobs:echo", args=(1,), env=bench.env)
    with pytest.raises(OSError, match="Bad file descriptor"):
        await child.call(call, log_fd=999)
    assert (await bench.call("echo", 2)).result == "2"
