"""What the members of a group say, read without asking any."""

from __future__ import annotations

import pytest
from hiredis import ReplyError

from jobctl.errors import ConfigError, NotPermittedError, UnreachableError
from jobctl.store import groups
from jobctl.store.address import Address
from jobctl.store.failures import StoreBusyError, server_failure
from jobctl.store.groups import View

SENTINEL = Address.parse("redis+sentinel://a,b,c/main")
CLUSTER = Address.parse("redis+cluster://a,b,c").serving("x")
ASKED = ("a", 26379)


@pytest.mark.parametrize(
    ("reply", "place"),
    [
        ("MOVED 3999 10.0.0.2:6381", ("10.0.0.2", 6381)),
        ("MOVED 3999 node-2.example:6381", ("node-2.example", 6381)),
        ("MOVED 3999 fe80::1:6381", ("fe80::1", 6381)),
        ("MOVED 3999 [fe80::1]:6381", ("fe80::1", 6381)),
        ("MOVED 3999 :6381", ("a", 6381)),
        ("MOVED 3999", None),
        ("MOVED 3999 a:x", None),
        ("MOVED 3999 a", None),
        ("ASK 3999 10.0.0.2:6381", None),
        ("ERR no", None),
    ],
)
def test_redirection_names_the_next_server(reply: str, place: groups.Place | None) -> None:
    assert groups.redirect(ReplyError(reply), ASKED) == place


def test_value_that_looks_like_a_redirection_is_none() -> None:
    assert groups.redirect(b"MOVED 3999 10.0.0.2:6381", ASKED) is None


def test_sentinel_names_the_primary_and_how_new_that_is() -> None:
    found = groups.view(
        SENTINEL, [[b"10.0.0.2", b"6380"], [b"name", b"main", b"config-epoch", b"7"]], ASKED
    )
    assert found is not None
    assert (found.place, found.age) == (("10.0.0.2", 6380), 7)


def test_sentinel_without_that_service_is_a_matter_of_configuration() -> None:
    error = server_failure("ERR No such master with that name", Address(host="a"))
    for answers in ([None, error], [None, None]):
        with pytest.raises(ConfigError, match="watches no service 'main'"):
            groups.view(SENTINEL, answers, ASKED)


def test_server_that_is_no_sentinel_is_told_from_one() -> None:
    error = server_failure("ERR unknown command 'SENTINEL'", Address(host="a"))
    with pytest.raises(ConfigError, match="is not a sentinel"):
        groups.view(SENTINEL, [error, error], ASKED)


def test_server_that_is_no_node_of_a_cluster_is_told_from_one() -> None:
    error = server_failure("ERR This instance has cluster support disabled", Address(host="a"))
    with pytest.raises(ConfigError, match="is no node of a cluster"):
        groups.view(CLUSTER, [error], ASKED)


def test_node_names_the_primary_of_the_slot_and_the_others() -> None:
    slots = [
        [0, 8000, [b"10.0.0.1", 1, b"id", []], [b"10.0.0.4", 4, b"id", []]],
        [8001, 16383, [b"", 2, b"id", []], [None, 3, b"id", []]],
    ]
    found = groups.view(CLUSTER, [slots], ASKED)
    assert found is not None
    assert found.place == ("a", 2)
    assert found.others == (("10.0.0.1", 1), ("10.0.0.4", 4), ("a", 2), ("a", 3))


def test_slot_that_nobody_serves_has_no_primary() -> None:
    assert groups.view(CLUSTER, [[[0, 8000, [b"10.0.0.1", 1, b"id"]]]], ASKED) is None


def test_member_that_was_cut_off_is_outvoted() -> None:
    old, new = ("old", 1), ("new", 2)
    assert groups.choose([]) is None
    for views, place in (
        ([View(old, 3), View(new, 4)], new),
        ([View(old, 3), View(old, 3), View(new, 4)], new),
        ([View(old), View(new), View(new)], new),
    ):
        chosen = groups.choose(views)
        assert chosen is not None
        assert chosen.place == place


def test_majority_is_more_than_half() -> None:
    assert [groups.enough(SENTINEL, count) for count in range(4)] == [False, False, True, True]


def test_replica_is_not_in_charge() -> None:
    where = Address(host="a")
    assert groups.not_in_charge([b"master", 0, []], where) is None
    assert isinstance(
        groups.not_in_charge([b"slave", b"b", 1, b"connected"], where), UnreachableError
    )
    loading = groups.not_in_charge(ReplyError("LOADING of data"), where)
    assert isinstance(loading, StoreBusyError)


def test_wrong_login_is_told_rather_than_silence_of_others() -> None:
    silent = UnreachableError("cannot reach a")
    refused = NotPermittedError("wrong password")
    assert groups.nobody(SENTINEL, [silent, refused]) is refused
    assert "cannot reach any sentinel" in str(groups.nobody(SENTINEL, [silent]))
    assert "CLUSTER INFO" in str(groups.nobody(CLUSTER, []))
