"""Stories of somebody who can write to the store, and has no key."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jobctl.model.sealing import Ring
from jobctl.store.address import Address
from jobctl.store.blocking import BlockingStore
from jobctl.store.calls import Call
from jobctl.store.keyring import SINCE, load
from jobctl.store.keys import Keys
from tests.acceptance.host import Host, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jobctl.store.embedded import EmbeddedStore

KEYS = Keys("default")
JOBS = """
[pools.default]
slots = 1
queues = ["default"]
[jobs.block]
command = 'until [ -e {go} ]; do sleep 0.05; done'
[jobs.say]
command = 'echo "$1" >> {said}'
retries = 1
[jobs.other]
command = 'echo other >> {said}'
retries = 1
[jobs.fail]
command = 'echo try >> {said}; exit 1'
retries = 1
retry_delay = "1h"
[jobs.long]
command = 'sleep 60'
[jobs.newest]
command = 'sleep 60'
overlap = "replace"
[pools.longs]
slots = 2
queues = ["longs"]
"""


def unsigned(envelope: bytes) -> bytes:
    return envelope.rpartition(b',"z":"')[0] + b"}"


class Forger:
    """Somebody with a connection to a host's store."""

    def __init__(self, host: Host, keys: Keys = KEYS) -> None:
        self.host = host
        self.keys = keys
        address = host.redis or f"unix://{Address.of_embedded(str(host.state)).path}"
        self.address = Address.parse(address)

    def do(self, *words: str | bytes | int) -> object:
        with BlockingStore(self.address) as store:
            return store.run(Call(words, lambda reply: reply))

    def record(self, run_id: str) -> dict[bytes, bytes]:
        flat = self.do("HGETALL", self.keys.run(run_id))
        items = iter(
            flat.items() if isinstance(flat, dict) else zip(*[iter(flat)] * 2, strict=True)
        )  # type: ignore[call-overload]
        return dict(items)

    def field(self, run_id: str, name: str, value: str | bytes) -> None:
        self.do("HSET", self.keys.run(run_id), name, value)

    def envelope(self, run_id: str, change: Callable[[bytes], bytes]) -> None:
        before = self.record(run_id)[b"e"]
        after = change(before)
        assert after != before
        self.field(run_id, "e", after)

    def put(self, run_id: str, fields: dict[bytes, bytes]) -> None:
        """Write a record and put it into its queue."""
        flat = [part for pair in fields.items() for part in pair]
        self.do("HSET", self.keys.run(run_id), *flat)
        queue = fields[b"q"].decode()
        self.do("RPUSH", self.keys.queue(queue, int(fields[b"p"])), run_id)
        self.do("RPUSH", self.keys.bell(queue), "1")

    def counter(self, name: str) -> int:
        return int(self.do("HGET", self.keys.counters, name) or 0)  # type: ignore[call-overload]


@pytest.fixture
def written(host: Host) -> Host:
    write(host)
    return host


def write(host: Host, more: str = "", **options: str) -> None:
    jobs = JOBS.format(go=host.directory / "go", said=host.directory / "said")
    host.write(jobs + more, **options)


@pytest.fixture
def hosts(server: EmbeddedStore) -> Iterator[tuple[Host, Host]]:
    """Two hosts on the session's server, in one namespace, without keys yet."""
    a, b = Host(name="host-a"), Host(name="host-b")
    for one in (a, b):
        one.redis = f"unix://{server.address.path}"
        write(one, settings=f"namespace = 'ns-{a.directory.name}'")
    yield a, b
    for one in (a, b):
        one.close()


def sign(*hosts: Host) -> None:
    """Make a key on the first host, and copy it to the others."""
    hosts[0].run("keys", "init")
    text = (hosts[0].directory / "signing.keys").read_text()
    for one in hosts:
        path = one.directory / "signing.keys"
        path.write_text(text)
        path.chmod(0o600)
        with one.config.open("a") as file:
            file.write('[security]\nkey_file = "signing.keys"\n')


def mac_of(envelope: bytes) -> bytes:
    return envelope.rpartition(b".")[2][:64]


TAMPERED: dict[str, Callable[[Forger, str], None]] = {
    "args": lambda f, i: f.envelope(i, lambda e: e.replace(b'["args"]', b'["evil"]')),
    "job": lambda f, i: f.field(i, "j", "other"),
    "attempts": lambda f, i: f.field(i, "mx", "9"),
    "signature": lambda f, i: f.envelope(i, lambda e: e.replace(mac_of(e), b"0" * 64)),
    "key id": lambda f, i: f.envelope(
        i, lambda e: e[: e.rindex(b'"z":"') + 5] + b"mine." + e[e.rindex(b'"z":"') + 5 :].split(b".", 1)[1]
    ),
    "expiry": lambda f, i: f.envelope(
        i, lambda e: e.replace(e.split(b".")[-2] + b".", b"9" * 10 + b".")
    ),
    "no signature": lambda f, i: f.envelope(i, unsigned),
    "garbage": lambda f, i: f.field(i, "e", b"\xff\x00[[[["),
    "depth": lambda f, i: f.field(i, "e", b'{"v":1,"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
}  # fmt: skip


def test_nothing_that_was_tampered_with_is_executed(written: Host) -> None:
    host = written
    host.start()
    forger = Forger(host)
    host.wait_state(host.submit("block"), "running")
    victims = {what: host.submit("say", what) for what in TAMPERED}
    model = forger.record(victims["args"])
    for what, tamper in TAMPERED.items():
        tamper(forger, victims[what])
    copied = "aaaaaaaaaaaaaaaa"
    forger.put(copied, forger.record(host.submit("say", "twice")))
    honest = host.submit("say", "honest")
    (host.directory / "go").touch()

    assert model[b"s"] == b"q"
    assert host.wait_state(honest)["state"] == "succeeded"
    for what, run_id in {**victims, "copied": copied}.items():
        record = forger.record(run_id)
        assert (what, record[b"s"], record[b"rs"]) == (what, b"x", b"bad_payload")
        assert b"refused" in record[b"er"], what
    shown = host.inspect(victims["args"])
    assert (shown["state"], shown["reason"]) == ("failed", "bad_payload")
    assert "its signature does not fit" in shown["error"]
    unreadable = host.call("inspect", victims["garbage"])
    assert unreadable.returncode == 1
    assert "Traceback" not in unreadable.stderr
    assert sorted(host.lines("said")) == ["honest", "twice"]
    assert forger.counter("bad") == len(victims) + 1
    assert host.log.count("security: run ") == len(victims) + 1
    found = {c["name"]: c for c in json.loads(host.run("doctor", "--json", code=None))["checks"]}
    assert found["signatures"]["status"] == "warning"
    assert "10 runs" in found["signatures"]["detail"]


def test_a_run_of_another_namespace_is_refused(hosts: tuple[Host, Host]) -> None:
    a, b = hosts
    write(b, settings=f"namespace = 'other-{b.directory.name}'")
    sign(a, b)
    a.start()
    there = b.submit("say", "elsewhere")
    stolen = Forger(b, Keys(f"other-{b.directory.name}")).record(there)
    forger = Forger(a, Keys(f"ns-{a.directory.name}"))

    forger.put(there, stolen)

    assert a.wait_state(there)["reason"] == "bad_payload"
    assert a.lines("said") == []


def test_a_shared_store_takes_unsigned_runs_only_without_security(hosts: tuple[Host, Host]) -> None:
    a, b = hosts
    checked = a.call("check")
    assert "whoever can write to this store can submit any job" in checked.stderr
    a.start()
    assert a.wait_state(b.submit("say", "trusting"))["state"] == "succeeded"
    a.stop()
    sign(a)
    a.start()

    refused = a.wait_state(b.submit("say", "unsigned"))
    honest = a.wait_state(a.submit("say", "signed"))

    assert "it is not signed" in refused["error"]
    assert honest["state"] == "succeeded"
    assert a.lines("said") == ["trusting", "signed"]
    assert "whoever can write" not in a.call("check").stderr


def test_keys_are_rotated_without_losing_a_run(hosts: tuple[Host, Host]) -> None:
    a, b = hosts
    sign(a, b)
    a.start()
    (old,) = [line.split()[0] for line in b.run("keys", "list").splitlines()]

    new = b.run("keys", "rotate").strip()
    assert b.run("keys", "list").split() == [old, "accepted", new, "signs"]
    unknown = a.wait_state(b.submit("say", "too early"))
    (a.directory / "signing.keys").write_bytes((b.directory / "signing.keys").read_bytes())
    known = a.wait_state(b.submit("say", "new"))
    a.run("keys", "use", old)
    also = a.wait_state(a.submit("say", "old"))
    b.run("keys", "retire", old)
    (a.directory / "signing.keys").write_bytes((b.directory / "signing.keys").read_bytes())
    a.run("keys", "list")

    assert f"key '{new}', which is not accepted here" in unknown["error"]
    assert (known["state"], also["state"]) == ("succeeded", "succeeded")
    assert a.run("keys", "list").split() == [new, "signs"]
    assert a.lines("said") == ["new", "old"]


def test_a_key_file_that_others_can_read_is_refused(hosts: tuple[Host, Host]) -> None:
    a, _ = hosts
    sign(a)
    (a.directory / "signing.keys").chmod(0o640)

    submitted, daemon = a.call("submit", "say", "x"), a.call("daemon", "--burst")

    for done in (submitted, daemon):
        assert done.returncode == 78
        assert "chmod 600" in done.stderr
        assert "Traceback" not in done.stderr


def test_the_embedded_store_signs_without_being_asked(written: Host) -> None:
    host = written
    host.start()
    path = host.state / "signing.keys"
    (host.directory / "go").touch()

    run_id = host.submit("say", "hello")

    assert path.stat().st_mode & 0o777 == 0o600
    assert host.wait_state(run_id)["state"] == "succeeded"
    assert b'"z":"' in Forger(host).record(run_id)[b"e"]
    secret = path.read_text().split()[-1]
    host.run("check", "--json")
    said = host.log + host.run("inspect", run_id, "--json") + host.run("keys", "list", "--json")
    said += host.run("doctor", "--json", code=None)
    said += "".join(p.read_text() for p in host.directory.rglob("config-*.json"))
    assert secret not in said
    assert list(host.directory.rglob("config-*.json"))


def test_forged_orders_are_ignored_and_counted(written: Host) -> None:
    host = written
    daemon = host.start()
    forger = Forger(host)
    run_id = host.submit("long", "--queue", "longs")
    host.wait_state(run_id, "running")
    owner = forger.record(run_id)[b"o"].decode()
    sid = owner.partition("/")[0]

    words = [
        "stop",
        "drain",
        "reload",
        "replace",
        "stop k.1.n.aa",
        "nonsense",
        "revoke",
        "revoke x y z",
    ]
    words += [f"revoke {run_id} 1 {order}" for order in ("user - - 1", "user KILL 0 1", "? ? ? ?", "user - - 1 a.1.b.c", "replaced - - 1", "replaced - - 1 a.b.1.c")]  # fmt: skip
    for word in words:
        forger.do("RPUSH", KEYS.mailbox(sid), word)
    forger.do("RPUSH", KEYS.bell(f"@{sid}"), "1")
    wait_until(lambda: forger.counter("forged") == len(words) - 2, what="all are counted")

    assert host.inspect(run_id)["state"] == "running"
    assert daemon.poll() is None
    assert "security: " in host.log
    assert host.log.count(" reloaded") == 0
    said = json.loads(host.run("doctor", "--json", code=None))["checks"]
    assert "12 orders" in next(c for c in said if c["name"] == "signatures")["detail"]
    host.run("revoke", run_id, "--wait")
    assert host.inspect(run_id)["state"] == "revoked"


def test_an_order_is_obeyed_once_and_by_whom_it_is_for(written: Host) -> None:
    host = written
    host.start()
    forger = Forger(host)
    host.wait_state(run_id := host.submit("long", "--queue", "longs"), "running")
    sid = forger.record(run_id)[b"o"].decode().partition("/")[0]
    order = signed_order(host, "reload", sid)
    foreign = signed_order(host, "stop", "other~1")
    old = signed_order(host, "stop", sid, ago=3600)

    for _ in range(2):
        for text in (order, foreign, old):
            forger.do("RPUSH", KEYS.mailbox(sid), text)
        forger.do("RPUSH", KEYS.bell(f"@{sid}"), "1")
        wait_until(lambda: not forger.do("EXISTS", KEYS.mailbox(sid)), what="they were read")
    wait_until(lambda: "came again" in host.log, what="the replay is noticed")
    os.kill(host.daemons[-1].pid, signal.SIGKILL)
    host.daemons[-1].wait()
    host.start()
    forger.do("RPUSH", KEYS.mailbox(sid), order)
    forger.do("RPUSH", KEYS.bell(f"@{sid}"), "1")

    wait_until(lambda: host.log.count("came again") == 2, what="also after a restart")
    assert host.log.count("reloaded") == 1
    assert host.inspect(run_id)["state"] == "running"
    host.run("revoke", run_id, "--wait")


def signed_order(host: Host, words: str, target: str, *, ago: float = 0.0) -> str:
    keys = load(str(host.state / "signing.keys"))
    ring = Ring(keys, namespace="default", signer=keys[-1], valid_for=1.0)
    return ring.order(words, target, now=time.time() - ago)


def test_pools_without_a_supervisor_check_orders_too(hosts: tuple[Host, Host]) -> None:
    host, _ = hosts
    sign(host)
    daemon = host.start()
    forger = Forger(host, Keys(f"ns-{host.directory.name}"))
    run_id = host.submit("long", "--queue", "longs")
    pid = host.wait_pid(run_id)
    sid = forger.record(run_id)[b"o"].decode().partition("/")[0]
    daemon.kill()
    daemon.wait()
    forger.do(
        "RPUSH", forger.keys.mailbox(sid), f"revoke {run_id} 1 user KILL 0 1", "revoke", "x y"
    )
    wait_until(lambda: forger.counter("forged") == 1, what="it is counted")

    assert Path(f"/proc/{pid}").exists()
    host.run("revoke", run_id)
    wait_until(lambda: host.inspect(run_id)["state"] == "revoked", what="the genuine one is obeyed")
    assert not Path(f"/proc/{pid}").exists()


def test_a_newer_run_proves_that_it_may_replace_an_older_one(written: Host) -> None:
    host = written
    host.start()
    forger = Forger(host)
    first = host.submit("newest", "--queue", "longs")
    host.wait_state(first, "running")
    second = host.submit("newest", "--queue", "longs")

    assert host.wait_state(first)["reason"] == "replaced"
    host.wait_state(second, "running")
    assert forger.counter("forged") == 0
    host.run("revoke", second, "--wait")


def test_a_run_that_has_ended_is_not_run_again_when_it_is_put_back(written: Host) -> None:
    host = written
    host.tampered = True
    host.start()
    forger = Forger(host)
    host.wait_state(host.submit("block"), "running")
    once = host.submit("say", "once")
    taken = forger.record(once)
    (host.directory / "go").touch()
    host.wait_state(once)
    host.stop()
    host.start()

    for replays in (1, 2):
        forger.do("DEL", KEYS.run(once))
        forger.put(once, taken | {b"t": b"%d" % replays})
        run = host.wait_state(once)
        assert (run["state"], run["reason"]) == ("succeeded", None)
        assert "has ended on this host before" in run["error"]
        wait_until(lambda n=replays: forger.counter("replayed") == n, what="it is counted")

    again = host.run("retry", once).strip()
    assert host.wait_state(again)["state"] == "succeeded"
    assert host.lines("said") == ["once", "once"]


def test_a_run_is_not_started_more_often_than_was_signed(written: Host) -> None:
    host = written
    host.start()
    forger = Forger(host)
    host.wait_state(host.submit("block"), "running")
    run_id = host.submit("fail")
    taken = forger.record(run_id)
    (host.directory / "go").touch()

    for tries in range(1, 6):
        wait_until(
            lambda n=tries: len(host.lines("said")) == n and forger.record(run_id)[b"s"] == b"d",
            what=f"start {tries}",
        )
        forger.do("ZREM", KEYS.due, run_id)
        forger.do("DEL", KEYS.run(run_id))
        forger.put(run_id, taken | {b"t": b"%d" % tries})
    run = host.wait_state(run_id)

    assert (run["state"], run["reason"]) == ("failed", "bad_payload")
    assert "has started it 5 times, 2 are allowed" in run["error"]
    assert host.lines("said") == ["try"] * 5


def test_a_key_of_a_run_that_is_forgotten_may_be_used_again(written: Host) -> None:
    host = written
    host.tampered = True
    host.start()
    (host.directory / "go").touch()
    first = host.submit("say", "one", "--id", "daily")
    host.wait_state(first)
    second = int(time.time())
    wait_until(lambda: int(time.time()) > second, what="the next second")
    Forger(host).do("DEL", KEYS.run(first), KEYS.given_id(first))

    again = host.submit("say", "two", "--id", "daily")

    assert again == first
    assert host.wait_state(again)["error"] is None
    assert host.lines("said") == ["one", "two"]


def test_what_an_older_version_left_waiting_is_signed_at_the_first_start(written: Host) -> None:
    host = written
    host.start()
    forger = Forger(host)
    host.wait_state(host.submit("block"), "running")
    waits = host.submit("say", "waits")
    later = host.submit("say", "later", "--in", "1s")
    for run_id in (waits, later):
        forger.envelope(run_id, unsigned)
    os.kill(host.daemons[-1].pid, signal.SIGKILL)
    (host.state / SINCE).unlink()
    (host.state / "signing.keys").unlink()

    host.start()
    forged = host.submit("say", "forged")
    forger.envelope(forged, unsigned)
    (host.directory / "go").touch()

    assert host.wait_state(waits)["state"] == "succeeded"
    assert host.wait_state(later)["state"] == "succeeded"
    assert host.wait_state(forged)["reason"] == "bad_payload"
    host.stop()
    assert sorted(host.lines("said")) == ["later", "waits"]


def test_a_key_file_that_was_lost_is_not_made_anew(written: Host) -> None:
    host = written
    host.start()
    host.wait_state(host.submit("block"), "running")
    waits = host.submit("say", "waits")
    keys = host.state / "signing.keys"
    kept = keys.read_bytes()
    keys.unlink()

    refused = host.call("submit", "say", "nobody")
    assert refused.returncode == 78
    assert "is gone" in refused.stderr
    assert not keys.exists()
    (host.directory / "go").touch()
    assert host.wait_state(waits)["state"] == "succeeded"
    host.stop()

    assert host.start(ready=False).wait(30) == 78
    assert not keys.exists()
    keys.touch(mode=0o600)
    keys.write_bytes(kept)
    host.start()
    assert host.wait_state(host.submit("say", "again"))["state"] == "succeeded"


def test_a_mailbox_full_of_rubbish_does_not_hold_up_orders(written: Host) -> None:
    host = written
    host.start()
    forger = Forger(host)
    (supervisor,) = json.loads(host.run("status", "--json"))["supervisors"]
    for _ in range(10):
        forger.do("RPUSH", KEYS.mailbox(supervisor["id"]), *["rubbish"] * 2000)

    host.run("reload")
    assert "was ignored" in host.log
