"""Addresses of servers that stand in for each other: sentinels and their service, or a cluster.

Only where such a URL is used; a plain one pays nothing for it.
"""

from __future__ import annotations

from jobctl.store.address import (
    COMMON_OPTIONS,
    DEFAULT_PORT,
    TLS_OPTIONS,
    UNESCAPED,
    Address,
    read_db,
    read_host_port,
    read_options,
    refuse,
    tls_of,
    unquote,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SENTINEL = "sentinel"
CLUSTER = "cluster"
SCHEMES = ("redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster")
SENTINEL_PORT = 26379
SENTINEL_OPTIONS = frozenset({"sentinel_username", "sentinel_password"})
SLOTS = 16384
"""Parts that a cluster divides its keys into."""

Place = tuple[str, int]
"""Host and port."""


class GroupAddress(Address):
    """Where to ask for the server in charge, and how to log in at both.

    What :class:`~jobctl.store.address.Address` has of logins and TLS is for the servers that hold
    data; ``servers`` are those to ask: the sentinels, or some nodes of the cluster.
    """

    __slots__ = (
        "group",
        "sentinel_password",
        "sentinel_username",
        "servers",
        "service",
        "slot",
    )

    def __init__(  # one keyword per part of a URL
        self,
        *,
        group: str,
        servers: tuple[Place, ...],
        service: str = "",
        sentinel_username: str = "",
        sentinel_password: str = "",
        slot: int | None = None,
        **parts: Any,  # noqa: ANN401  # of several types, which Address knows
    ) -> None:
        """``parts`` are those of a plain address; ``slot`` is the part of a cluster to look for."""
        super().__init__(**parts)
        put = object.__setattr__
        put(self, "group", group)
        put(self, "servers", servers)
        put(self, "service", service)
        put(self, "sentinel_username", sentinel_username)
        put(self, "sentinel_password", sentinel_password)
        put(self, "slot", slot)

    if TYPE_CHECKING:
        group: str
        servers: tuple[Place, ...]
        service: str
        sentinel_username: str
        sentinel_password: str
        slot: int | None

    def facts(self) -> dict[str, Any]:  # noqa: D102  # as in Address
        mine = {name: getattr(self, name) for name in GroupAddress.__slots__}
        return super().facts() | mine

    def serving(self, namespace: str) -> Address:  # noqa: D102  # as in Address
        if self.group != CLUSTER:
            return self
        return GroupAddress(**self.facts() | {"slot": hash_slot(namespace)})

    def at(self, place: Place) -> Address:
        """Return the address of one server that holds data."""
        facts = super().facts() | {"host": place[0], "port": place[1]}
        return Address(**facts)

    def question_at(self, place: Place) -> Address:
        """Return the address of one server to ask for the one in charge."""
        if self.group == CLUSTER:
            return self.at(place)
        login = {
            "username": self.sentinel_username,
            "password": self.sentinel_password,
            "db": 0,
        }
        return Address(**super().facts() | {"host": place[0], "port": place[1]} | login)

    def __str__(self) -> str:
        login = self.username + (":***" if self.password else "")
        scheme = "rediss" if self.tls else "redis"
        places = ",".join(shown(place) for place in self.servers)
        tail = f"/{self.service}" if self.service else ""
        tail += f"/{self.db}" if self.db else ""
        return f"{scheme}+{self.group}://{login}{login and '@'}{places}{tail}"


def parse(url: str) -> GroupAddress:
    """Return the address that ``url`` names, or raise :class:`~jobctl.errors.ConfigError`.

    ::

        redis+sentinel://[user:password@]host[:port],…/service[/db][?sentinel_password=…]
        redis+cluster://[user:password@]host[:port],…
    """
    scheme, _, rest = url.partition("://")
    scheme = scheme.lower()
    group = scheme.partition("+")[2]
    rest, _, query = rest.partition("#")[0].partition("?")
    if "@" in query or "@" in rest.partition("/")[2]:
        refuse(url, UNESCAPED)
    authority, _, path = rest.partition("/")
    userinfo, _, hosts = authority.rpartition("@")
    tls = scheme.startswith("rediss")
    known = COMMON_OPTIONS | (TLS_OPTIONS if tls else frozenset())
    if group == SENTINEL:
        known |= SENTINEL_OPTIONS
    options = read_options(url, query, known)
    service, database = _path(url, group, path)
    username, _, password = userinfo.partition(":")
    db = read_db(url, database or options.get("db", ""))
    if group == CLUSTER and db:
        refuse(url, "a cluster has no databases but /0; leave the number out")
    return GroupAddress(
        group=group,
        servers=_servers(url, hosts, SENTINEL_PORT if group == SENTINEL else DEFAULT_PORT),
        service=service,
        sentinel_username=options.get("sentinel_username", ""),
        sentinel_password=options.get("sentinel_password", ""),
        username=unquote(username),
        password=unquote(password) or options.get("password", ""),
        db=db,
        tls=tls,
        **tls_of(options),
    )


def hash_slot(namespace: str) -> int:
    """Return the part of a cluster that holds all keys of ``namespace``."""
    crc = 0
    for byte in namespace.encode():
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1) ^ 0x1021 if crc & 0x8000 else crc << 1
        crc &= 0xFFFF
    return crc % SLOTS


def shown(place: Place) -> str:
    """Return ``host:port`` as in URLs."""
    host, port = place
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _servers(url: str, hosts: str, usual: int) -> tuple[Place, ...]:
    found: list[Place] = []
    for word in hosts.split(","):
        if not word:
            refuse(url, "a server has no name; write host1:port,host2:port,host3:port")
        place = read_host_port(url, word, usual)
        if place in found:
            refuse(url, f"{shown(place)} is named twice; name each server once")
        found.append(place)
    return tuple(found)


def _path(url: str, group: str, path: str) -> tuple[str, str]:
    """Return the service's name, and the number of the database as it is written."""
    if group == CLUSTER:
        return "", path
    service, _, database = path.partition("/")
    if not service:
        refuse(
            url,
            "the service that the sentinels watch is missing, the name in their line "
            "`sentinel monitor NAME …`; write redis+sentinel://host1,host2,host3/NAME",
        )
    return unquote(service), database
