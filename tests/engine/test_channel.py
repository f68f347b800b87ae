"""The line between supervisor and pool."""

from __future__ import annotations

import asyncio
import json
import socket

from jobctl.engine.channel import Channel, Message


def test_last_words_are_heard_although_something_was_said_to_the_dead() -> None:
    async def story() -> None:
        ours, theirs = socket.socketpair()
        ours.settimeout(0)
        heard: list[Message | str] = []
        gone = asyncio.Event()

        def on_close() -> None:
            heard.append("gone")
            gone.set()

        channel = await Channel.open(ours, heard.append, on_close)
        theirs.sendall(json.dumps({"say": "load"}).encode() + b"\n")
        theirs.sendall(json.dumps({"say": "done"}).encode() + b"\n")
        theirs.close()
        channel.send({"do": "lease"})  # before the loop has read anything
        channel.send({"do": "lease"})
        async with asyncio.timeout(10):
            await gone.wait()
        assert heard == [{"say": "load"}, {"say": "done"}, "gone"]

    asyncio.run(story())
