"""The users of the store that the documentation recommends, on the real server."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jobctl.errors import JobctlError
from jobctl.store.address import Address
from jobctl.store.blocking import BlockingStore
from jobctl.store.calls import Call
from tests.acceptance.host import Host, wait_until
from tests.acceptance.trouble import Server

if TYPE_CHECKING:
    from collections.abc import Iterator

GUIDE = Path(__file__).parents[2] / "docs" / "how-to" / "shared-redis.md"


def documented() -> list[list[str]]:
    """Return the words of the documented ACL lines, for namespace ``default``."""
    lines = re.findall(r"^ACL SETUSER .*$", GUIDE.read_text(), re.MULTILINE)
    assert len(lines) == 3
    return [
        line.replace("{prod}", "{default}").replace("PASSWORD", "secret").split() for line in lines
    ]


@pytest.fixture
def hosts(server_binary: Path) -> Iterator[dict[str, Host]]:
    """One host for each kind of user, on a server that knows only them and an administrator."""
    server = Server(server_binary)
    server.start()
    for words in documented():
        server.raw(*words)
    found = {}
    for kind in ("supervisor", "submitter", "reader"):
        host = Host(name=kind, redis=server.url.replace("unix://", f"unix://jobctl-{kind}:secret@"))
        host.write(
            "[jobs.say]\ncommand = 'echo hello'\nschedule = '@yearly'\noverlap = 'allow'\n[jobs.long]\ncommand = 'sleep 60'\n"
        )
        found[kind] = host
    yield found
    for host in found.values():
        host.close()
    server.close()


def test_the_documented_users_can_do_their_work_and_no_more(hosts: dict[str, Host]) -> None:
    supervisor, submitter, reader = hosts["supervisor"], hosts["submitter"], hosts["reader"]
    supervisor.start()

    run_id = submitter.submit("say")
    assert "succeeded" in submitter.run("wait", run_id)
    assert submitter.run("submit", "say", "--in", "1h")
    long = submitter.submit("long")
    wait_until(lambda: supervisor.inspect(long)["state"] == "running", what="it runs")
    submitter.run("revoke", long, "--wait")
    submitter.run("reload", "--host", "supervisor")
    assert submitter.run("logs", run_id) == "hello\n"

    assert reader.run("logs", run_id) == "hello\n"
    assert reader.inspect(run_id)["state"] == "succeeded"
    assert reader.run("status")
    assert len(reader.runs()) == 3
    for words in (("submit", "say"), ("revoke", run_id), ("stop", "--no-wait")):
        refused = reader.call(*words)
        assert refused.returncode == 77, (words, refused.stderr)
    assert "NOPERM" not in supervisor.log


FORBIDDEN = (
    "GET jc:{other}:schema", "SET jc:{other}:schema 1", "FLUSHALL", "KEYS *", "ACL LIST", "DEBUG SLEEP 0",
    "CONFIG SET appendonly no", "SHUTDOWN", "EVAL return(redis.call('GET','jc:{other}:n')) 0",
)  # fmt: skip


def test_nobody_reaches_other_namespaces_or_the_server(hosts: dict[str, Host]) -> None:
    for kind, host in hosts.items():
        for words in FORBIDDEN:
            with BlockingStore(Address.parse(str(host.redis))) as store:
                call = Call(tuple(words.split()), lambda reply: reply)
                (answer,) = store.try_many([call])
            assert isinstance(answer, JobctlError), (kind, words, answer)
            assert re.search("NOPERM|permission", f"{answer} {answer.reply}"), (kind, words, answer)


def test_the_documented_users_can_do_their_work_on_schedules(hosts: dict[str, Host]) -> None:
    supervisor, submitter, reader = hosts["supervisor"], hosts["submitter"], hosts["reader"]
    supervisor.start()
    submitter.run("schedule", "disable", "say", "--until", "2h")
    submitter.run("schedule", "enable", "say")
    submitter.run("schedule", "add", "more", "--job", "say", "--schedule", "* * * * * *")
    wait_until(lambda: "fired" in reader.run("schedule", "show", "more"), what="it fires")
    submitter.run("schedule", "set", "more", "--schedule", "@daily")
    submitter.run("schedule", "rm", "more")
    submitter.run("schedule", "skip-to", "say", "now")
    submitter.run("schedule", "trigger", "say")
    submitter.run("schedule", "backfill", "say", "--from", "2020-01-01T00:00")
    assert "say" in reader.run("schedule", "next", "say")
    for words in (("disable", "say"), ("trigger", "say"), ("set", "say", "--max-runs", "1")):
        refused = reader.call("schedule", *words)
        assert refused.returncode == 77, refused.stderr
