"""Which server of a group is in charge, from what the members say: without any I/O.

Of sentinels and cluster nodes a majority is asked, because one that was cut off goes on telling
what was true before. Executors connect to the server that is found, and it must call itself the
primary, because right after a failover everybody else may still be wrong.
"""

from __future__ import annotations

from hiredis import ReplyError

from jobctl.errors import ConfigError, JobctlError, UnreachableError
from jobctl.store import failures
from jobctl.store.calls import Call
from jobctl.store.group_address import SENTINEL, shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobctl.store.address import Address
    from jobctl.store.group_address import GroupAddress, Place

MAX_REDIRECTS = 4
"""A call that is sent on more often than that meets nodes that contradict each other."""
MOVED = "MOVED "
PRIMARY = b"master"
ROLE = ("ROLE",)
FIRST_NODE = 2
"""Place of the primary in an entry of ``CLUSTER SLOTS``; its replicas follow."""


class View:
    """What one member says: who is in charge, and how new that is."""

    __slots__ = ("age", "others", "place")

    def __init__(self, place: Place, age: int = 0, others: tuple[Place, ...] = ()) -> None:
        self.place = place
        self.age = age
        """The epoch of the configuration: a higher one is newer; 0 where none is told."""
        self.others = others
        """Members that can be asked as well."""


def questions(address: GroupAddress) -> tuple[Call[object], ...]:
    """Return what to ask a member; :func:`view` reads the answers."""
    if address.group == SENTINEL:
        name = address.service
        return (
            # The first has the new primary once it obeys, the second once all is settled.
            Call(("SENTINEL", "GET-MASTER-ADDR-BY-NAME", name), _raw),
            Call(("SENTINEL", "MASTER", name), _raw),
        )
    return (Call(("CLUSTER", "SLOTS"), _raw),)


def view(address: GroupAddress, answers: Sequence[object], asked: Place) -> View | None:
    """Return what the member at ``asked`` says, ``None`` when it knows of no one in charge.

    Raises what an error among ``answers`` stands for, and ConfigError for a sentinel that watches no such
    service and for a server that is no member of a cluster.
    """
    for answer in answers:
        if isinstance(answer, ReplyError):
            error = failures.server_failure(str(answer), address.question_at(asked))
            raise _in_words(address, error, asked)
        if isinstance(answer, JobctlError):
            raise _in_words(address, answer, asked)
    if address.group == SENTINEL:
        return _sentinel_view(address, answers, asked)
    return _cluster_view(address, answers[0], asked)


def choose(views: Sequence[View]) -> View | None:
    """Return the view to follow: the newest, and of equally new ones what most say."""
    if not views:
        return None
    newest = max(one.age for one in views)
    fresh = [one for one in views if one.age == newest]
    places = [one.place for one in fresh]
    return max(fresh, key=lambda one: places.count(one.place))


def enough(address: GroupAddress, count: int) -> bool:
    """Return whether ``count`` answers are a majority."""
    return count > len(address.servers) // 2


def redirect(reply: object, asked: Place) -> Place | None:
    """Return where a cluster says that a slot is served from now on, if that is what it says.

    Not for ``ASK``: while a slot is on its way, one part of a namespace is here and one there. A
    script that was sent after the keys that have left would miss those that have not, so the
    call is refused, see :data:`jobctl.store.failures.BUSY`, until all have arrived.
    """
    if not isinstance(reply, ReplyError):
        return None
    words = str(reply).split()
    if len(words) != len(("MOVED", "slot", "place")) or words[0] != "MOVED":
        return None
    host, colon, port = words[2].rpartition(":")
    if not colon or not port.isdecimal():
        return None
    # Without a host: the same one that answered, at another port.
    return (host.strip("[]") or asked[0], int(port))


def not_in_charge(role: object, address: Address) -> JobctlError | None:
    """Return the error for a server whose answer to ``ROLE`` says that it is a replica."""
    if isinstance(role, ReplyError):
        return failures.server_failure(str(role), address)
    if isinstance(role, list) and role and role[0] == PRIMARY:
        return None
    return UnreachableError(
        f"{address}: this server is a replica, and nobody has told yet which one took over; "
        "a failover may be under way, try again in a moment"
    )


def nobody(address: GroupAddress, errors: Sequence[JobctlError]) -> JobctlError:
    """Return the error for a group of which no member names a server in charge."""
    for error in errors:
        if not isinstance(error, UnreachableError | failures.LostReplyError):
            return error
    who = "sentinel" if address.group == SENTINEL else "node of the cluster"
    if not errors:
        return UnreachableError(
            f"{address}: no {who} names a server in charge; see "
            + ("`SENTINEL MASTERS`" if address.group == SENTINEL else "`CLUSTER INFO`")
        )
    return UnreachableError(
        f"cannot reach any {who} of {address} ({errors[0]}); check that they run and the "
        "addresses in jobs.toml"
    )


def _raw(reply: object) -> object:
    return reply


def _sentinel_view(address: GroupAddress, answers: Sequence[object], asked: Place) -> View | None:
    found, facts = answers
    if found is None:
        raise _unknown_service(address, asked)
    if not isinstance(found, list) or not isinstance(facts, list):
        return None
    host, port = (_text(word) for word in found)
    words = [_text(word) for word in facts]
    told = dict(zip(words[::2], words[1::2], strict=False))
    return View((host, int(port)), int(told.get("config-epoch", "0")))


def _cluster_view(address: GroupAddress, answer: object, asked: Place) -> View | None:
    found: Place | None = None
    others: list[Place] = []
    for entry in answer if isinstance(answer, list) else ():
        first, last, *nodes = entry
        places = [_node_place(node, asked) for node in nodes]
        others += [place for place in places if place not in others]
        if places and first <= (address.slot or 0) <= last:
            found = places[0]
    return None if found is None else View(found, others=tuple(others))


def _node_place(node: list[object], asked: Place) -> Place:
    """Return the place of a node; one that does not know its host is the one that was asked."""
    host = _text(node[0]) if node[0] else ""
    return (host if host not in ("", "?") else asked[0], int(str(node[1])))


def _in_words(address: GroupAddress, error: JobctlError, asked: Place) -> JobctlError:
    reply = error.reply
    if address.group == SENTINEL and "No such master" in reply:
        return _unknown_service(address, asked)
    if address.group == SENTINEL and "unknown command" in reply:
        return ConfigError(
            f"{shown(asked)} in {address} is not a sentinel; name the sentinels, which usually "
            f"listen on port 26379, or use redis:// for a single server ({reply})"
        )
    if address.group != SENTINEL and "cluster support disabled" in reply:
        return ConfigError(
            f"{shown(asked)} in {address} is no node of a cluster; use redis:// for a single "
            f"server ({reply})"
        )
    return error


def _unknown_service(address: GroupAddress, asked: Place) -> ConfigError:
    return ConfigError(
        f"the sentinel at {shown(asked)} watches no service {address.service!r}; write the name in "
        f"its line `sentinel monitor NAME …` behind the servers in redis = ({address})"
    )


def _text(word: object) -> str:
    return word.decode() if isinstance(word, bytes) else str(word)
