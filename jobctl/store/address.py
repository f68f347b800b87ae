"""Where the store is: one value parsed from the URL in jobs.toml.

Parsed by hand because ``urllib.parse`` costs a quarter of a bare interpreter's start.
"""

from __future__ import annotations

from jobctl.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any, NoReturn

DEFAULT_PORT = 6379
MAX_PORT = 65535
FORMS = (
    "redis://host:6379/0, rediss://host:6379/0, unix:///path/to/socket, "
    "redis+sentinel://host1,host2,host3/service or redis+cluster://host1,host2,host3"
)
COMMON_OPTIONS = frozenset({"db", "password"})
TLS_OPTIONS = frozenset({"ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs"})
UNESCAPED = "write / ? # @ in a password as %2F %3F %23 %40"
SECRETS = ("password=", "sentinel_password=")
SOCKET_NAME = "valkey.sock"


def socket_path(state_dir: str | Path) -> str:
    """Return where the embedded store of ``state_dir`` listens."""
    return f"{state_dir}/store/{SOCKET_NAME}"


class Address:
    """Everything needed to connect to one server; printing it never shows the password.

    :class:`~jobctl.store.group_address.GroupAddress` is that of servers that stand in for each other.
    """

    group = ""
    """``sentinel`` or ``cluster`` when which server to use has to be asked for first."""

    __slots__ = (
        "ca_certs",
        "certfile",
        "db",
        "embedded",
        "host",
        "keyfile",
        "password",
        "path",
        "port",
        "tls",
        "username",
        "verify",
    )

    def __init__(  # noqa: PLR0913  # one keyword per part of a URL
        self,
        *,
        host: str = "",
        port: int = DEFAULT_PORT,
        path: str = "",
        username: str = "",
        password: str = "",
        db: int = 0,
        tls: bool = False,
        ca_certs: str = "",
        certfile: str = "",
        keyfile: str = "",
        verify: bool = True,
        embedded: bool = False,
    ) -> None:
        """``path`` makes it a unix socket; ``embedded`` says that our own daemon serves it."""
        put = object.__setattr__
        put(self, "host", host)
        put(self, "port", port)
        put(self, "path", path)
        put(self, "username", username)
        put(self, "password", password)
        put(self, "db", db)
        put(self, "tls", tls)
        put(self, "ca_certs", ca_certs)
        put(self, "certfile", certfile)
        put(self, "keyfile", keyfile)
        put(self, "verify", verify)
        put(self, "embedded", embedded)

    if TYPE_CHECKING:
        host: str
        port: int
        path: str
        username: str
        password: str
        db: int
        tls: bool
        ca_certs: str
        certfile: str
        keyfile: str
        verify: bool
        embedded: bool

    @classmethod
    def of_embedded(cls, state_dir: str | Path) -> Address:
        """Return the address of the embedded store of ``state_dir``."""
        return cls(path=socket_path(state_dir), embedded=True)

    @classmethod
    def parse(cls, url: str) -> Address:
        """Return the address that ``url`` names, or raise :class:`ConfigError`."""
        scheme, separator, rest = url.partition("://")
        scheme = scheme.lower()
        if separator and "+" in scheme:
            from jobctl.store import group_address  # noqa: PLC0415  # only where there is a group

            if scheme in group_address.SCHEMES:
                return group_address.parse(url)
        if not separator or scheme not in ("redis", "rediss", "unix"):
            refuse(url, f"not a store address; write {FORMS}")
        rest, _, query = rest.partition("#")[0].partition("?")
        if "@" in query or "@" in rest.partition("/")[2]:
            refuse(url, UNESCAPED)
        options = read_options(url, query, known_options(scheme))
        authority, slash, path = rest.partition("/")
        userinfo, _, hostport = authority.rpartition("@")
        username, _, password = userinfo.partition(":")
        username, password = unquote(username), unquote(password) or options.get("password", "")
        if scheme == "unix":
            if hostport or not path:
                refuse(url, "a socket needs an absolute path, with three slashes: unix:///path")
            return cls(
                path=slash + unquote(path),
                username=username,
                password=password,
                db=read_db(url, options.get("db", "")),
            )
        host, port = read_host_port(url, hostport)
        return cls(
            host=host,
            port=port,
            username=username,
            password=password,
            db=read_db(url, path or options.get("db", "")),
            tls=scheme == "rediss",
            **tls_of(options),
        )

    @classmethod
    def from_facts(cls, facts: dict[str, Any]) -> Address:
        """Return the address that has said :meth:`facts`, also after a journey as JSON."""
        if "group" not in facts:
            return cls(**facts)
        from jobctl.store.group_address import GroupAddress  # noqa: PLC0415

        servers = tuple((host, port) for host, port in facts["servers"])
        return GroupAddress(**{**facts, "servers": servers})

    def facts(self) -> dict[str, Any]:
        """Return every part by its name, the password too, as JSON can carry them."""
        return {name: getattr(self, name) for name in Address.__slots__}

    def serving(self, namespace: str) -> Address:  # noqa: ARG002  # of interest in a cluster only
        """Return the address for those who work with ``namespace``."""
        return self

    def _key(self) -> tuple[object, ...]:
        return tuple(self.facts().values())

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"an address does not change: {name}")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"an address does not change: {name}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Address) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __str__(self) -> str:
        login = self.username + (":***" if self.password else "")
        login = login and login + "@"
        if self.path:
            return f"unix://{login}{self.path}" + (f"?db={self.db}" if self.db else "")
        host = f"[{self.host}]" if ":" in self.host else self.host
        scheme = "rediss" if self.tls else "redis"
        return f"{scheme}://{login}{host}:{self.port}" + (f"/{self.db}" if self.db else "")

    def __repr__(self) -> str:
        return f"Address({self})"


def masked(url: str) -> str:
    """Return ``url``, well formed or not, without anything that may be a password."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        scheme, rest = "", url
    # From the last @ on: a password that is not escaped may hold any other sign.
    login, at, rest = rest.rpartition("@")
    user, colon, _ = login.partition(":")
    login = (user + ":***" if colon else "***") + at if at else ""
    rest, mark, query = rest.partition("?")
    words = [
        word.partition("=")[0] + "=***" if word.startswith(SECRETS) else word
        for word in query.split("&")
        if mark
    ]
    return scheme + separator + login + rest + mark + "&".join(words)


def unquote(text: str) -> str:
    """Return ``text`` with its percent escapes decoded."""
    if "%" not in text:
        return text
    from urllib.parse import unquote as decode  # noqa: PLC0415  # rare, and dear to import

    return decode(text)


def known_options(scheme: str) -> frozenset[str]:
    """Return what may stand behind the question mark of a URL."""
    return COMMON_OPTIONS | (TLS_OPTIONS if scheme.startswith("rediss") else frozenset())


def read_options(url: str, query: str, known: frozenset[str]) -> dict[str, str]:
    """Return the options of ``url``, decoded; raises ConfigError for one that is not known."""
    scheme = url.partition("://")[0].lower()
    options: dict[str, str] = {}
    for word in query.split("&") if query else ():
        name, _, value = word.partition("=")
        if name not in known:
            allowed = ", ".join(sorted(known))
            refuse(url, f"unknown option {name!r}; {scheme}:// knows {allowed}")
        options[name] = unquote(value)
    if options.get("ssl_cert_reqs", "required") not in ("none", "required"):
        refuse(url, "ssl_cert_reqs is either 'required' or 'none'")
    return options


def tls_of(options: dict[str, str]) -> dict[str, Any]:
    """Return the keywords of an address for its certificates."""
    return {
        "ca_certs": options.get("ssl_ca_certs", ""),
        "certfile": options.get("ssl_certfile", ""),
        "keyfile": options.get("ssl_keyfile", ""),
        "verify": options.get("ssl_cert_reqs", "required") == "required",
    }


def read_host_port(url: str, hostport: str, usual: int = DEFAULT_PORT) -> tuple[str, int]:
    """Return host and port of one server; ``usual`` is the port of one without."""
    if hostport.startswith("["):
        host, _, tail = hostport[1:].partition("]")
        colon, port = tail[:1], tail[1:]
    else:
        host, colon, port = hostport.partition(":")
    if colon not in ("", ":") or (port and not port.isdecimal()) or int(port or 1) > MAX_PORT:
        refuse(url, f"the part after the host is not a port number; {UNESCAPED}")
    return unquote(host) or "localhost", int(port) if port else usual


def read_db(url: str, text: str) -> int:
    """Return the number of a database, 0 for no text."""
    if text and not text.isdecimal():
        refuse(url, f"{text!r} is not a database number, such as 0")
    return int(text or 0)


def refuse(url: str, why: str) -> NoReturn:
    """Raise ConfigError for ``url``, without its password."""
    raise ConfigError(f"redis = {masked(url)!r}: {why}")
