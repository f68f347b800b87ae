"""What can go wrong between jobctl and its store, in words a person can act on.

One place turns socket errors and server replies into the branches of :mod:`jobctl.errors`::

    UnreachableError        nothing was sent
    NotAcceptedError
    ├── LostReplyError      something was sent, no answer came: fate unknown
    └── StoreBusyError      the server said "not now"
    NotPermittedError       the server refused the credentials
    StoreError              anything else the server said
"""

from __future__ import annotations

from errno import ECONNREFUSED

from jobctl.errors import (
    ConfigError,
    JobctlError,
    NotAcceptedError,
    NotPermittedError,
    UnreachableError,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.store.address import Address


class StoreError(JobctlError):
    """Raised when the store answers with an error nobody expects; a bug or a foreign server."""

    code = "store"


class StoreBusyError(NotAcceptedError):
    """Raised when the store cannot do this now; nothing was changed."""

    code = "store_busy"


class LostReplyError(NotAcceptedError):
    """Raised when a call was sent and its answer never came: it may or may not have happened."""

    code = "unknown"
    cause = ""
    """What became of the answer, and of which store, as a sentence begins."""


BUSY = {
    "LOADING": "the store is loading its data after a restart; try again in a moment",
    "BUSY": "the store is busy with a long script; try again in a moment",
    "MISCONF": "the store cannot write to its disk; free space or see the server's log",
    "OOM": "the queue store is full; let runs finish, or raise the server's maxmemory",
    "NOREPLICAS": "the store has too few replicas to accept writes; see min-replicas-to-write",
    "READONLY": "the store is a read-only replica; a failover may be under way, try again",
    "MASTERDOWN": "the store is a replica without its primary; try again after the failover",
    "CLUSTERDOWN": "the store's cluster does not serve this now; see its `CLUSTER INFO`",
    "TRYAGAIN": "the store's cluster is moving data; try again in a moment",
    "ASK": "the store's cluster is moving this namespace to another node; try again when it is done",
    "UNBLOCKED": "the store gave up its role while we waited; a failover may be under way, try again",
}
"""First word of a reply → what it means. The connection stays usable."""

REFUSED = frozenset({"NOAUTH", "WRONGPASS", "NOPERM", "DENIED"})
STALE = frozenset({"READONLY", "UNBLOCKED", "MASTERDOWN", "MOVED", "CLUSTERDOWN"})
"""Replies after which the connection leads to the wrong server and must be dropped."""

FINAL_PHRASES = ("max number of clients", "DENIED ", "Protocol error: ")
"""Replies after which the server closes the connection."""


WRONG_TYPE = "WRONGTYPE"
"""First word of the reply to a command that does not fit the type of its key."""


def first_word(reply: str) -> str:
    """Return the code of an error reply."""
    return reply.partition(" ")[0]


def ends_connection(reply: str) -> bool:
    """Return whether the server hangs up after this reply."""
    return any(phrase in reply for phrase in FINAL_PHRASES)


def server_failure(reply: str, address: Address) -> JobctlError:
    """Return the error that stands for the error reply ``reply``, which it keeps."""
    failure = _failure(reply, address)
    failure.reply = reply
    return failure


def _failure(reply: str, address: Address) -> JobctlError:
    word = first_word(reply)
    if word in BUSY:
        return StoreBusyError(f"{address}: {BUSY[word]} ({reply})")
    if word in REFUSED:
        return _refused(reply, address)
    for phrase, make in PHRASES.items():
        if phrase in reply:
            return make(reply, address)
    return StoreError(f"{address}: the store answered with an error: {reply}")


def _refused(reply: str, address: Address) -> JobctlError:
    return NotPermittedError(
        f"{address}: the store refuses these credentials; correct the user and password in the "
        f"redis URL, or the rights of that user ({reply})"
    )


def _full(_reply: str, address: Address) -> JobctlError:
    return StoreBusyError(f"{address}: the store has no connection left; raise its maxclients")


def _cluster(reply: str, address: Address) -> JobctlError:
    return ConfigError(
        f"{address}: this is a node of a cluster; name its nodes with "
        f"redis+cluster://host1:port,host2:port,host3:port ({reply})"
    )


def still_moving(reply: str, address: Address) -> JobctlError:
    """Return the error for a call that the nodes of a cluster send back and forth."""
    failure = StoreBusyError(
        f"{address}: the store's cluster disagrees about who serves this namespace; try again in "
        f"a moment ({reply})"
    )
    failure.reply = reply
    return failure


def _no_database(reply: str, address: Address) -> JobctlError:
    return ConfigError(f"{address}: the server has no such database; use /0 ({reply})")


def _too_old(reply: str, address: Address) -> JobctlError:
    return ConfigError(f"{address}: the server is older than Redis 7; upgrade it ({reply})")


def _newer(reply: str, address: Address) -> JobctlError:
    return ConfigError(
        f"{address}: this namespace was laid out by a newer jobctl, nothing in it was touched; "
        f"upgrade this host ({reply})"
    )


def _foreign(reply: str, address: Address) -> JobctlError:
    return StoreError(
        f"{address}: a key among jobctl's has another type than its name says; `jobctl doctor "
        f"--verify` names it, `jobctl doctor --repair` puts it aside ({reply})"
    )


PHRASES = {
    WRONG_TYPE: _foreign,
    "SCHEMA ": _newer,
    # Strangers may not even send a call of ours: it is too long for one who has no password.
    "unauthenticated ": _refused,
    "ACL failure in script": _refused,
    "The user executing the script": _refused,
    "no password is set": _refused,
    "without any password configured": _refused,
    "max number of clients": _full,
    "MOVED ": _cluster,
    "CROSSSLOT ": _cluster,
    "DB index": _no_database,
    "unexpected symbol near '#'": _too_old,
}


def connect_failure(error: Exception, address: Address) -> JobctlError:
    """Return the error for a connection that could not be made; nothing was sent."""
    if isinstance(error, PermissionError):
        return NotPermittedError(
            f"{address}: no permission to open the store's socket; run as the user that owns it"
        )
    if address.embedded:
        return UnreachableError(
            f"no store listens at {address.path} ({reason(error)}); start it with `jobctl daemon`, "
            "or name the right --config"
        )
    return UnreachableError(
        f"cannot reach the store at {address} ({reason(error)}); check that the server runs and "
        "the address in jobs.toml"
    )


def tls_failure(error: Exception, address: Address) -> JobctlError:
    """Return the error for a refused TLS handshake."""
    return UnreachableError(
        f"cannot reach the store at {address}: TLS failed ({reason(error)}); check the host name, "
        "ssl_ca_certs and the server's certificate"
    )


def lost_reply(why: str, address: Address) -> LostReplyError:
    """Return the error for a call that was sent and not answered."""
    cause = f"no reply from the store at {address} ({why})"
    failure = LostReplyError(f"{cause}; it is unknown whether the request was carried out")
    failure.cause = cause
    return failure


def unread(error: LostReplyError) -> UnreachableError:
    """Return the error for a call that only reads, whose answer was lost: nothing can have happened."""
    cause = error.cause or str(error)
    return UnreachableError(f"{cause}; try again, or check that the server runs and answers")


def broken_on_purpose(address: Address, *, sent: bool) -> JobctlError:
    """Return the error for a connection that a failpoint broke before or after sending."""
    if sent:
        return lost_reply("a failpoint dropped it", address)
    return connect_failure(OSError(0, "a failpoint broke the connection"), address)


def reason(error: Exception) -> str:
    """Return the cause of a socket error in lower-case words."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    # asyncio has words of its own for this, one sentence per address it tried.
    if isinstance(error, ConnectionRefusedError) or f"[Errno {ECONNREFUSED}]" in str(error):
        return "connection refused"
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text[:1].lower() + text[1:]


def foreign_server(error: Exception, address: Address) -> JobctlError:
    """Return the error for bytes that are no reply of a Redis server."""
    return ConfigError(
        f"{address}: what answers there is not a Redis or Valkey server ({error}); "
        "check host and port, and whether it wants rediss://"
    )
