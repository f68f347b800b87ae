"""Real servers on loopback: single ones, a primary with replicas and sentinels, and a cluster.

All run the program that jobctl embeds, in private directories, and end by their process ids.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from jobctl.errors import JobctlError
from jobctl.store.address import Address
from jobctl.store.blocking import BlockingStore
from jobctl.store.calls import Call

if TYPE_CHECKING:
    from collections.abc import Callable

HOST = "127.0.0.1"
DEADLINE = 30.0
SERVICE = "main"
DOWN_AFTER = 0.5
"""Seconds of silence after which sentinels and cluster nodes take a primary for dead."""
SLOTS = 16384


def wait_for(condition: Callable[[], Any], what: str, *, deadline: float = DEADLINE) -> Any:
    """Return the first true value of ``condition``; fail after ``deadline`` seconds."""
    limit = time.monotonic() + deadline
    while True:
        with contextlib.suppress(JobctlError):
            if value := condition():
                return value
        assert time.monotonic() < limit, f"not within {deadline:g} s: {what}"
        time.sleep(0.02)


def free_ports(count: int) -> list[int]:
    """Return different TCP ports of loopback that nobody uses now."""
    with contextlib.ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind((HOST, 0))
        return [int(probe.getsockname()[1]) for probe in probes]


class Server:
    """One server on a TCP port; its data stay over :meth:`kill` and :meth:`start`.

    ``options`` are words of the server's command line, such as ``"--appendonly", "yes"``.
    """

    def __init__(
        self, binary: Path, *options: str, port: int = 0, user: str = "", password: str = ""
    ) -> None:
        self.port = port or free_ports(1)[0]
        self.user, self.password = user, password
        self.directory = Path(tempfile.mkdtemp(prefix="jcs"))
        self.command = [
            *(str(binary), "--port", str(self.port), "--bind", HOST, "--save", ""),
            *("--dir", str(self.directory), "--repl-diskless-sync-delay", "0", *options),
        ]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def place(self) -> str:
        """``host:port``, as in URLs."""
        return f"{HOST}:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        return (self.directory / "log").read_text()

    def start(self) -> Self:
        """Start it and wait until it answers."""
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self.command, cwd=self.directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        wait_for(self._answers, f"server {self.place}")
        return self

    def raw(self, *words: str | int) -> Any:
        """Send one command over a connection of its own."""
        address = Address(
            host=HOST, port=self.port, username=self.user, password=self.password
        )  # fmt: skip
        with BlockingStore(address) as store:
            return store.run(Call(words, lambda reply: reply))

    def info(self, section: str) -> dict[str, str]:
        lines = self.raw("INFO", section).decode().splitlines()
        return dict(line.partition(":")[::2] for line in lines if ":" in line)

    @property
    def role(self) -> str:
        """``master``, ``slave`` or ``sentinel``."""
        return str(self.raw("ROLE")[0].decode())

    @property
    def up(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def pause(self) -> None:
        """Stop it as a host that hangs: connections are made, nothing is answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log
        return bool(self.raw("PING"))


class SentinelGroup:
    """A primary, its replicas and three sentinels that watch them under the name ``main``.

    ``options`` are for primary and replicas; ``password`` is that of their default user,
    ``sentinel_password`` that of the sentinels.
    """

    def __init__(
        self,
        binary: Path,
        *options: str,
        replicas: int = 1,
        sentinels: int = 3,
        password: str = "",
        sentinel_password: str = "",
    ) -> None:
        login = ("--requirepass", password, "--primaryauth", password) if password else ()
        ports = free_ports(1 + replicas + sentinels)
        common = (*login, "--appendonly", "yes", "--appendfsync", "everysec", *options)
        self.password = password
        self.sentinel_password = sentinel_password
        first = Server(binary, *common, port=ports[0], password=password)
        follow = ("--replicaof", f"{HOST} {first.port}")
        self.servers = [
            first,
            *(
                Server(binary, *common, *follow, port=port, password=password)
                for port in ports[1 : 1 + replicas]
            ),
        ]
        self.sentinels = [
            self._sentinel(binary, port, first.port) for port in ports[1 + replicas :]
        ]

    @property
    def url(self) -> str:
        login = f":{self.password}@" if self.password else ""
        places = ",".join(one.place for one in self.sentinels)
        query = f"?sentinel_password={self.sentinel_password}" if self.sentinel_password else ""
        return f"redis+sentinel://{login}{places}/{SERVICE}{query}"

    def start(self) -> Self:
        """Start all and wait until a failover would be possible."""
        for server in (*self.servers, *self.sentinels):
            server.start()
        wait_for(self.ready, "the sentinels know everybody")
        return self

    def ready(self) -> bool:
        """Whether all replicas follow and every sentinel knows all the others."""
        lines = int(self.primary.info("replication")["connected_slaves"])
        if lines < sum(server.up for server in self.servers) - 1:
            return False
        for sentinel in self.sentinels:
            words = [one.decode() for one in sentinel.raw("SENTINEL", "MASTER", SERVICE)]
            facts = dict(zip(words[::2], words[1::2], strict=True))
            if facts["flags"] != "master":
                return False
            if int(facts["num-other-sentinels"]) < len(self.sentinels) - 1:
                return False
            if int(facts["num-slaves"]) < len(self.servers) - 1:
                return False
        return True

    @property
    def primary(self) -> Server:
        """The server the first sentinel names."""
        _, port = self.sentinels[0].raw("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
        return next(one for one in self.servers if one.port == int(port))

    @property
    def replicas(self) -> list[Server]:
        primary = self.primary
        return [one for one in self.servers if one is not primary]

    def wait_failover(self, old: Server) -> Server:
        """Return the primary that took over from ``old``."""
        wait_for(lambda: self.primary is not old, "another primary")
        wait_for(lambda: self.primary.role == "master", "its promotion")
        return self.primary

    def close(self) -> None:
        for server in (*self.sentinels, *self.servers):
            server.close()

    def _sentinel(self, binary: Path, port: int, primary: int) -> Server:
        made = Server(binary, port=port, password=self.sentinel_password)
        milliseconds = int(DOWN_AFTER * 1000)
        lines = [
            f"port {port}",
            f"bind {HOST}",
            f"dir {made.directory}",
            f"sentinel monitor {SERVICE} {HOST} {primary} 2",
            f"sentinel down-after-milliseconds {SERVICE} {milliseconds}",
            f"sentinel failover-timeout {SERVICE} 3000",
        ]
        if self.password:
            lines.append(f"sentinel auth-pass {SERVICE} {self.password}")
        if self.sentinel_password:
            lines.append(f"requirepass {self.sentinel_password}")
            lines.append(f"sentinel sentinel-pass {self.sentinel_password}")
        path = made.directory / "sentinel.conf"
        path.write_text("\n".join(lines) + "\n")
        made.command = [str(binary), str(path), "--sentinel"]
        return made


class Cluster:
    """Three primaries that share the slots, each with ``replicas`` replicas."""

    def __init__(self, binary: Path, *options: str, replicas: int = 0, password: str = "") -> None:
        login = ("--requirepass", password, "--primaryauth", password) if password else ()
        count = 3 * (1 + replicas)
        ports = free_ports(2 * count)
        self.password = password
        self.servers = [
            Server(
                binary,
                *("--cluster-enabled", "yes", "--cluster-port", str(bus)),
                *("--cluster-node-timeout", str(int(DOWN_AFTER * 1000))),
                *("--cluster-replica-validity-factor", "0", "--appendonly", "yes"),
                *login,
                *options,
                port=port,
                password=password,
            )
            for port, bus in zip(ports[:count], ports[count:], strict=True)
        ]
        self._buses = dict(zip(ports[:count], ports[count:], strict=True))

    @property
    def url(self) -> str:
        login = f":{self.password}@" if self.password else ""
        return f"redis+cluster://{login}" + ",".join(one.place for one in self.servers)

    def start(self) -> Self:
        """Start all nodes, join them, and wait until every one calls the cluster sound."""
        for server in self.servers:
            server.start()
        first, *others = self.servers
        for epoch, server in enumerate(self.servers, start=1):
            server.raw("CLUSTER", "SET-CONFIG-EPOCH", epoch)
        for one in others:
            one.raw("CLUSTER", "MEET", HOST, first.port, self._buses[first.port])
        bounds = [SLOTS * part // 3 for part in range(4)]
        for part, server in enumerate(self.servers[:3]):
            server.raw("CLUSTER", "ADDSLOTSRANGE", bounds[part], bounds[part + 1] - 1)
        wait_for(lambda: all(self._knows_all(one) for one in self.servers), "all nodes met")
        for index, replica in enumerate(self.servers[3:]):
            replica.raw("CLUSTER", "REPLICATE", self.node_id(self.servers[index % 3]))
        wait_for(self.ready, "the cluster is sound")
        return self

    def ready(self) -> bool:
        """Whether all living nodes call the cluster sound and all replicas follow."""
        return all(self._sound(one) for one in self.servers if one.up)

    def node_id(self, server: Server) -> str:
        return str(server.raw("CLUSTER", "MYID").decode())

    def slot_of(self, namespace: str) -> int:
        return int(self._any().raw("CLUSTER", "KEYSLOT", f"{{{namespace}}}"))

    def primary_of(self, namespace: str) -> Server:
        """The node that serves the keys of ``namespace``, in the view of a living one."""
        slot = self.slot_of(namespace)
        for first, last, node, *_ in self._any().raw("CLUSTER", "SLOTS"):
            if first <= slot <= last:
                return next(one for one in self.servers if one.port == node[1])
        raise AssertionError(f"nobody serves slot {slot}")

    def move(self, namespace: str, target: Server) -> None:
        """Give the slot of ``namespace`` and its keys to ``target``."""
        slot, source = self.slot_of(namespace), self.primary_of(namespace)
        self.begin_move(namespace, target)
        login = ("AUTH", self.password) if self.password else ()
        while keys := source.raw("CLUSTER", "GETKEYSINSLOT", slot, 100):
            source.raw("MIGRATE", HOST, target.port, "", 0, 5000, *login, "KEYS", *keys)
        told = [one for one in self.servers if one.up and one.role == "master"]
        for one in (target, source, *(s for s in told if s not in (target, source))):
            one.raw("CLUSTER", "SETSLOT", slot, "NODE", self.node_id(target))

    def begin_move(self, namespace: str, target: Server) -> None:
        """Leave the slot of ``namespace`` half way between its node and ``target``."""
        slot, source = self.slot_of(namespace), self.primary_of(namespace)
        target.raw("CLUSTER", "SETSLOT", slot, "IMPORTING", self.node_id(source))
        source.raw("CLUSTER", "SETSLOT", slot, "MIGRATING", self.node_id(target))

    def wait_failover(self, namespace: str, old: Server) -> Server:
        """Return the primary that took over the slot of ``namespace`` from ``old``."""
        wait_for(lambda: self.primary_of(namespace) is not old, "another primary")
        return self.primary_of(namespace)

    def close(self) -> None:
        for server in self.servers:
            server.close()

    def _any(self) -> Server:
        return next(one for one in self.servers if one.up)

    def _knows_all(self, server: Server) -> bool:
        known = f"cluster_known_nodes:{len(self.servers)}\r\n".encode()
        nodes = server.raw("CLUSTER", "NODES").decode()
        return known in server.raw("CLUSTER", "INFO") and "handshake" not in nodes

    def _sound(self, server: Server) -> bool:
        state = server.raw("CLUSTER", "INFO")
        if b"cluster_state:ok" not in state:
            return False
        ranges = server.raw("CLUSTER", "SLOTS")
        copies = sum(len(entry) - 3 for entry in ranges)
        if copies < sum(one.up for one in self.servers) - 3:
            return False
        facts = server.info("replication")
        return facts["role"] == "master" or facts["master_link_status"] == "up"
