from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jobctl.errors import ConfigError, NotPermittedError, UnreachableError
from jobctl.store.address import Address
from jobctl.store.blocking import BlockingStore
from jobctl.store.calls import Call
from jobctl.store.failures import LostReplyError, StoreBusyError, StoreError, server_failure

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobctl.store.embedded import EmbeddedStore

    Echo = Callable[[object], Call[object]]


def plain(*words: str | bytes | int, blocking: float | None = None) -> Call[object]:
    return Call(words, lambda reply: reply, blocking=blocking)


PING = plain("PING")


def test_calls_are_decoded(store: BlockingStore) -> None:
    length = Call(("RPUSH", "l", b"a", "é", 3), lambda reply: f"{reply} long")
    assert store.run(length) == "3 long"
    assert store.run(plain("LRANGE", "l", 0, -1)) == [b"a", "é".encode(), b"3"]


def test_script_is_loaded_when_the_server_does_not_know_it(
    store: BlockingStore, echo: Echo
) -> None:
    store.run(plain("SCRIPT", "FLUSH"))
    assert store.run(echo("a")) == "a"
    store.run(plain("SCRIPT", "FLUSH"))
    assert store.run_many([echo("b"), PING, echo("c")]) == ["b", b"PONG", "c"]


def test_calls_are_not_repeated_when_a_script_is_loaded(store: BlockingStore, echo: Echo) -> None:
    store.run(plain("SCRIPT", "FLUSH"))
    store.run_many([plain("INCR", "n"), echo("a"), plain("INCR", "n")])
    assert store.run(plain("GET", "n")) == b"2"


def test_many_calls_answer_in_order(store: BlockingStore, echo: Echo) -> None:
    words = [str(number) * 40 for number in range(5000)]
    assert store.run_many([echo(word) for word in words]) == words


def test_no_calls_need_no_server(store: BlockingStore) -> None:
    assert store.run_many([]) == []


def test_first_error_is_raised_after_all_are_answered(store: BlockingStore) -> None:
    with pytest.raises(StoreError, match="NOSUCH"):
        store.run_many([plain("SET", "k", 1), plain("NOSUCH"), plain("SET", "k", 2), plain("BAD")])
    assert store.run(plain("GET", "k")) == b"2"


def test_errors_can_take_the_place_of_results(store: BlockingStore) -> None:
    results = store.try_many([PING, plain("NOSUCH"), PING])
    assert results[0] == results[2] == b"PONG"
    assert isinstance(results[1], StoreError)


def test_large_values_pass(store: BlockingStore) -> None:
    blob = os.urandom(5_000_000)
    assert store.run_many([plain("SET", "k", blob), plain("GET", "k")])[1] == blob


def test_blocking_call_may_take_longer_than_the_timeout(server: EmbeddedStore) -> None:
    with BlockingStore(server.address, timeout=0.15) as store:
        assert store.run(plain("BLPOP", "nothing", "0.3", blocking=0.3)) is None
        assert store.run(PING) == b"PONG"


@pytest.mark.parametrize(
    ("reply", "kind", "words"),
    [
        ("OOM command not allowed", StoreBusyError, "the queue store is full"),
        ("LOADING Valkey is loading the dataset in memory", StoreBusyError, "loading its data"),
        ("BUSY running a script", StoreBusyError, "busy"),
        ("MISCONF Errors writing to the AOF file", StoreBusyError, "cannot write to its disk"),
        ("NOREPLICAS Not enough good replicas", StoreBusyError, "too few replicas"),
        ("READONLY You can't write", StoreBusyError, "read-only replica"),
        ("MASTERDOWN Link is down", StoreBusyError, "without its primary"),
        ("CLUSTERDOWN Hash slot not served", StoreBusyError, "does not serve this"),
        ("TRYAGAIN Multiple keys", StoreBusyError, "moving data"),
        ("ASK 3999 127.0.0.1:6381", StoreBusyError, "moving this namespace"),
        ("NOPERM this user has no permissions", NotPermittedError, "credentials"),
        ("ERR ACL failure in script: no", NotPermittedError, "credentials"),
        ("MOVED 3999 127.0.0.1:6381", ConfigError, r"redis\+cluster://"),
        ("UNBLOCKED force unblock", StoreBusyError, "gave up its role"),
        ("WRONGTYPE Operation against a key", StoreError, "WRONGTYPE"),
    ],
)
def test_error_replies_are_explained(
    store: BlockingStore, reply: str, kind: type[Exception], words: str
) -> None:
    source = "return {err=ARGV[1]}"
    with pytest.raises(kind, match=words) as caught:
        store.run(plain("EVAL", source, 0, reply))
    assert store.address.path in str(caught.value)
    assert store.run(PING) == b"PONG"


def test_full_store_refuses_and_says_so(raw_server: Callable[..., Address]) -> None:
    address = raw_server("--maxmemory", "1", "--maxmemory-policy", "noeviction")
    with (
        BlockingStore(address) as store,
        pytest.raises(StoreBusyError, match="the queue store is full") as caught,
    ):
        store.run(plain("SET", "a", "b"))
    assert caught.value.exit_code == 75


def test_replica_refuses_writes(raw_server: Callable[..., Address]) -> None:
    address = raw_server("--replicaof", "127.0.0.1 1")
    with BlockingStore(address) as store:
        with pytest.raises(StoreBusyError, match="read-only replica"):
            store.run(plain("SET", "a", "b"))
        assert store._sock is None  # the address may lead to the new primary by now


def test_loading_server_is_busy(raw_server: Callable[..., Address], short_dir: Path) -> None:
    count = 9000
    commands = b"".join(b"*3\r\n$3\r\nSET\r\n$4\r\n%04d\r\n$1\r\nx\r\n" % i for i in range(count))
    (short_dir / "appendonlydir").mkdir()
    (short_dir / "appendonlydir" / "appendonly.aof.1.incr.aof").write_bytes(commands)
    manifest = "file appendonly.aof.1.incr.aof seq 1 type i\n"
    (short_dir / "appendonlydir" / "appendonly.aof.manifest").write_text(manifest)
    slow = ("--key-load-delay", "100", "--loading-process-events-interval-bytes", "1024")
    address = raw_server("--appendonly", "yes", *slow, wait=False)
    with (
        BlockingStore(address) as store,
        pytest.raises(StoreBusyError, match="loading its data"),
    ):
        store.run(plain("GET", "0001"))


def test_password_opens_a_tcp_server(raw_server: Callable[..., Address], free_port: int) -> None:
    raw_server("--requirepass", "s3 cret", "--port", str(free_port))
    url = f"redis://:s3%20cret@127.0.0.1:{free_port}/2"
    with BlockingStore(Address.parse(url)) as store:
        store.run(plain("SET", "k", "two"))
        assert store.run(plain("GET", "k")) == b"two"
        assert b" db=2 " in bytes(store.run(plain("CLIENT", "INFO")))  # type: ignore[call-overload]
    for wrong in (f"redis://127.0.0.1:{free_port}", f"redis://:hunter2@127.0.0.1:{free_port}"):
        with (
            BlockingStore(Address.parse(wrong)) as store,
            pytest.raises(NotPermittedError, match="correct the user and password") as caught,
        ):
            store.run(PING)
        assert "hunter2" not in str(caught.value)
        assert caught.value.exit_code == 77


def test_long_call_without_the_password_is_refused(
    raw_server: Callable[..., Address], free_port: int
) -> None:
    raw_server("--requirepass", "secret", "--port", str(free_port))
    call = plain("MSET", *(str(number) for number in range(20)))
    with (
        BlockingStore(Address.parse(f"redis://127.0.0.1:{free_port}")) as store,
        pytest.raises(NotPermittedError, match="correct the user and password"),
    ):
        store.run(call)


def test_password_for_an_open_server_is_refused(server: EmbeddedStore) -> None:
    address = Address(path=server.address.path, password="x")
    with (
        BlockingStore(address) as store,
        pytest.raises(NotPermittedError),
    ):
        store.run(PING)


def test_missing_database_is_a_wrong_address(server: EmbeddedStore) -> None:
    with (
        BlockingStore(Address(path=server.address.path, db=99)) as store,
        pytest.raises(ConfigError, match="no such database"),
    ):
        store.run(PING)


def test_connections_over_the_limit_are_refused_with_the_reason(
    raw_server: Callable[..., Address],
) -> None:
    address = raw_server()
    with BlockingStore(address) as first, BlockingStore(address) as second:
        first.run(plain("CONFIG", "SET", "maxclients", 1))
        with pytest.raises(StoreBusyError, match="maxclients"):
            second.run(PING)


def test_missing_socket_is_unreachable(tmp_path: Path) -> None:
    with (
        BlockingStore(Address(path=str(tmp_path / "s"))) as store,
        pytest.raises(UnreachableError, match="no such file") as caught,
    ):
        store.run(PING)
    assert caught.value.exit_code == 69


def test_missing_embedded_store_names_the_daemon(tmp_path: Path) -> None:
    with (
        BlockingStore(Address.of_embedded(tmp_path)) as store,
        pytest.raises(UnreachableError, match="jobctl daemon"),
    ):
        store.run(PING)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_closed_port_is_unreachable(free_port: int, host: str) -> None:
    with (
        BlockingStore(Address(host=host, port=free_port, password="hunter2")) as store,
        pytest.raises(UnreachableError, match="connection refused") as caught,
    ):
        store.run(PING)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("host", ["no..host", "x" * 70])
def test_impossible_host_name_is_unreachable(host: str) -> None:
    with BlockingStore(Address(host=host)) as store, pytest.raises(UnreachableError):
        store.run(PING)


def test_server_that_does_not_accept_is_unreachable_in_time() -> None:
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        place = listener.getsockname()
        for _ in range(3):  # fills the queue of connections nobody accepts
            filler = stack.enter_context(socket.socket())
            filler.settimeout(0)
            with contextlib.suppress(BlockingIOError):
                filler.connect(place)
        store = BlockingStore(Address(host="127.0.0.1", port=place[1]), connect_timeout=0.1)
        with pytest.raises(UnreachableError, match="no answer in time"):
            store.run(PING)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may open every socket")
def test_socket_of_another_user_is_not_permitted(raw_server: Callable[..., Address]) -> None:
    address = raw_server()
    Path(address.path).chmod(0)
    with BlockingStore(address) as store, pytest.raises(NotPermittedError, match="permission"):
        store.run(PING)


def test_something_else_that_answers_is_a_wrong_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            client, _ = listener.accept()
            with client:
                client.recv(100)
                client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        port = listener.getsockname()[1]
        with (
            BlockingStore(Address(host="127.0.0.1", port=port)) as store,
            pytest.raises(ConfigError, match="not a Redis or Valkey server"),
        ):
            store.run(PING)


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("mode", ["eat", "cut"])
def test_lost_answer_leaves_the_fate_unknown(proxy, mode: str) -> None:
    proxy.mode = mode
    with BlockingStore(proxy.address, timeout=0.2) as shaky:
        with pytest.raises(LostReplyError, match="unknown whether") as caught:
            shaky.run(plain("INCR", "n"))
        assert caught.value.exit_code == 75
        proxy.mode = "pass"
        assert shaky.run(plain("GET", "n")) == b"1"


def test_connection_that_ended_while_idle_is_made_anew(proxy) -> None:
    with BlockingStore(proxy.address) as store:
        assert store.run(PING) == b"PONG"
        proxy.cut()
        ended = threading.Event()
        for _ in range(400):
            if not store._usable(store._sock):
                break
            ended.wait(0.005)
        assert store.run(PING) == b"PONG"
    assert proxy.connections == 2


def test_restarted_server_is_found_again(raw_server: Callable[..., Address]) -> None:
    address = raw_server()
    with BlockingStore(address) as store:
        with pytest.raises(LostReplyError):
            store.run(plain("SHUTDOWN", "NOSAVE"))
        with pytest.raises(UnreachableError):
            store.run(PING)
        raw_server()
        assert store.run(PING) == b"PONG"


def test_unix_connection_that_ended_while_idle_is_made_anew(
    raw_server: Callable[..., Address],
) -> None:
    address = raw_server()
    with BlockingStore(address) as store, BlockingStore(address) as other:
        mine = store.run(plain("CLIENT", "ID"))
        other.run(plain("CLIENT", "KILL", "ID", mine))
        assert store.run_many([plain("INCR", "n"), plain("INCR", "n")]) == [1, 2]
        assert store.run(plain("CLIENT", "ID")) != mine


def test_request_larger_than_a_socket_takes_at_once_is_sent_whole(store: BlockingStore) -> None:
    assert store.run(PING) == b"PONG"
    assert store.run(plain("SET", "large", "x" * 3_000_000)) == b"OK"
    assert store.run(plain("STRLEN", "large")) == 3_000_000


def test_interrupted_call_does_not_leave_its_answer_behind(
    store: BlockingStore, echo: Echo
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(KeyboardInterrupt):
            store.run(plain("BLPOP", "bell", "5", blocking=5.0))
    finally:
        signal.signal(signal.SIGALRM, before)
    store.run(plain("RPUSH", "bell", "x"))
    assert store.run(echo("mine")) == "mine"


def test_threads_share_a_store(store: BlockingStore, echo: Echo) -> None:
    wrong: list[object] = []

    def work(name: str) -> None:
        for number in range(200):
            word = f"{name}-{number}"
            if store.run(echo(word)) != word:
                wrong.append(word)

    threads = [threading.Thread(target=work, args=(str(index),)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_forked_child_gets_a_connection_of_its_own(store: BlockingStore) -> None:
    ours = store.run(plain("CLIENT", "ID"))
    pid = os.fork()
    if pid == 0:
        try:
            os._exit(0 if store.run(plain("CLIENT", "ID")) != ours else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert store.run(plain("CLIENT", "ID")) == ours


class Counted:
    """A socket of the parent whose end takes until two threads are at it, if two ever are."""

    def __init__(self) -> None:
        self.both = threading.Barrier(2, timeout=0.5)
        self.closed = 0

    def close(self) -> None:
        self.closed += 1
        with contextlib.suppress(threading.BrokenBarrierError):
            self.both.wait()


def test_threads_that_come_together_after_a_fork_leave_the_parent_once(
    store: BlockingStore,
) -> None:
    store.close()
    inherited = Counted()
    store._sock, store._pid = inherited, 1  # type: ignore[assignment]  # as in a child
    answers: dict[int, object] = {}

    def ask(number: int) -> None:
        answers[number] = store.run(plain("ECHO", number))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert inherited.closed == 1
    assert answers == {0: b"0", 1: b"1"}


def test_threads_of_forked_children_get_their_own_answers(store: BlockingStore) -> None:
    store.run(PING)
    for _ in range(40):
        pid = os.fork()
        if pid == 0:
            try:
                os._exit(swapped(store))
            finally:
                os._exit(99)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def swapped(store: BlockingStore, count: int = 8) -> int:
    """Return how many of so many threads that ask at once did not get the answer to their question."""
    together = threading.Barrier(count)
    good: list[int] = []

    def ask(number: int) -> None:
        together.wait()
        if store.run(plain("ECHO", number)) == b"%d" % number:
            good.append(number)

    threads = [threading.Thread(target=ask, args=(number,), daemon=True) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    return count - len(good)


def test_forked_child_may_close_what_another_thread_of_its_parent_was_using(
    store: BlockingStore,
) -> None:
    store.run(PING)
    with store._lock:  # as a thread holds it that is about to get its answer
        pid = os.fork()
        if pid == 0:
            closing = threading.Thread(target=store.close, daemon=True)
            closing.start()
            closing.join(10)
            os._exit(int(closing.is_alive()))
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_connection_may_be_closed_while_other_threads_use_it(store: BlockingStore) -> None:
    wrong: list[object] = []
    done = threading.Event()

    def ask() -> None:
        try:
            wrong.extend({store.run(PING) for _ in range(300)} - {b"PONG"})
        except BaseException as error:  # noqa: BLE001 - it is what the test is about
            wrong.append(error)

    def close() -> None:
        while not done.is_set():
            store.close()

    closing = threading.Thread(target=close)
    closing.start()
    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    done.set()
    closing.join(10)
    assert wrong == []


def test_long_socket_path_works(raw_server: Callable[..., Address], short_dir: Path) -> None:
    address = raw_server()
    deep = short_dir / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    Path(address.path).rename(deep / "s.sock")
    with BlockingStore(Address(path=str(deep / "s.sock"))) as store:
        assert store.run(PING) == b"PONG"


def test_server_older_than_our_scripts_is_named() -> None:
    reply = "ERR Error compiling script (new function): user_script:1: unexpected symbol near '#'"
    error = server_failure(reply, Address(host="db"))
    assert isinstance(error, ConfigError)
    assert "older than Redis 7" in str(error)
