"""Signatures of runs and of orders: what is signed, and how it is checked. Pure.

Whoever can write to the store can put anything into it; what a host executes carries an HMAC-SHA256
made with a key the store never sees. A run's seal is the last member of its envelope,
``"z":"KEY.SIGNED.NOT_BEFORE.UNTIL.MAC"``, and covers the envelope's other bytes as they are, so no
two writings of the same value matter. An order's seal is a word after it, ``KEY.TIME.NONCE.MAC``.

Without ``hmac`` and ``hashlib``: their import costs more than all the rest of signing a submit.
Where OpenSSL is loaded anyway, as in pools, it is used: it takes half the time.
"""

from __future__ import annotations

import os
import sys
from _operator import _compare_digest as same  # what hmac uses

from jobctl.model.records import maker, record

try:
    from _sha2 import sha256  # type: ignore[import-not-found]  # Python 3.12 and later
except ImportError:
    try:
        from _sha256 import sha256  # type: ignore[import-not-found]  # Python 3.11
    except ImportError:
        from hashlib import sha256

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from jobctl.model.admission import NewRun

    Seal = Callable[[NewRun, str], str]
    """Makes a sealed envelope of a run and its envelope."""

VERSION = "1"
BLOCK = 64
SKEW = 300.0
"""Seconds that two hosts' clocks may differ before times in signatures are held against somebody."""
TOO_EARLY = "it is not due yet, or the clocks of its submitter and of this host differ"
TOO_LATE = "it was to start long ago (see valid_for in [security]), or clocks differ"
"""Why what is signed as it must be is refused all the same."""
MARK = b',"z":"'
SEAL_WORDS = 5
FACTS_MOST = 1000
"""Jobs, with their queues and priorities, whose part of a message is kept."""
HEADS_MOST = 1000
"""Words of seals that are kept: runs of one second, and of one job's bulk, have them in common."""
PROOF = b',"y":"'
"""Before the proof by which the older runs of a job with ``overlap = "replace"`` are stopped."""
MACHINES = ("schedule", "catchup")
"""Triggers of runs that are signed with their instant: decided twice, they are the same run."""
_INNER = bytes(byte ^ 0x36 for byte in range(256))
_OUTER = bytes(byte ^ 0x5C for byte in range(256))


def digest(data: bytes) -> bytes:
    """Return the SHA-256 of ``data``."""
    return bytes(sha256(data).digest())


class SealError(ValueError):
    """Raised when something is not signed as it must be; the message says what is wrong."""


class Key:
    """One key; printing it never shows the secret."""

    __slots__ = ("_inner", "_outer", "id", "secret")

    def __init__(self, key_id: str, secret: bytes) -> None:
        self.id = key_id
        self.secret = secret
        block = secret if len(secret) <= BLOCK else sha256(secret).digest()
        block = block.ljust(BLOCK, b"\0")
        begin = _quickest()
        self._inner = begin(block.translate(_INNER))
        self._outer = begin(block.translate(_OUTER))

    def mac(self, message: bytes) -> str:
        """Return the HMAC-SHA256 of ``message`` in hexadecimal."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(message)
        outer.update(inner.digest())
        return str(outer.hexdigest())

    def __repr__(self) -> str:
        return f"Key({self.id})"


def _quickest() -> Callable[[bytes], Any]:
    """Return what begins a SHA-256: OpenSSL's where that is loaded anyway and offers it."""
    openssl: Any = sys.modules.get("_hashlib")
    try:
        openssl.openssl_sha256(b"")
    except (AttributeError, ValueError):
        openssl = None
    begin: Callable[[bytes], Any] = sha256 if openssl is None else openssl.openssl_sha256
    return begin


@record(frozen=True, slots=True)
class Sealed:
    """What a valid seal says. Times are epoch seconds."""

    key: str
    signed: int
    not_before: int | None
    until: int
    """Latest first start."""


_sealed = maker(Sealed)


class Ring:
    """The keys of one namespace: ``signer`` signs, all of ``keys`` are accepted.

    ``required`` refuses what is not signed. ``valid_for`` is how many seconds after its time a run
    may start at the latest.
    """

    __slots__ = (
        "_begin", "_facts", "_heads", "_keys", "namespace", "required", "signer", "valid_for"
    )  # fmt: skip

    def __init__(
        self,
        keys: Iterable[Key],
        *,
        namespace: str,
        signer: Key,
        valid_for: float,
        required: bool = True,
    ) -> None:
        self._keys = {key.id: key for key in keys}
        self.namespace = namespace
        self.signer = signer
        self.valid_for = valid_for
        self.required = required
        self._begin: bytes | None = None
        self._facts: dict[tuple[str, str, str, str], bytes] = {}
        self._heads: dict[bytes, tuple[Key, bytes, Sealed]] = {}

    def sealer(self, now: Callable[[], float]) -> Seal:
        """Return what seals envelopes; ``now`` tells epoch seconds."""
        return lambda run, envelope: self.seal(run, envelope, now=now())

    def seal(self, run: NewRun, envelope: str, *, now: float) -> str:
        """Return ``envelope`` with the seal of ``run``; ``now`` is epoch seconds."""
        return self.sealer_of(run, now=now)(run.request.id, envelope)

    def sealer_of(self, run: NewRun, *, now: float) -> Callable[[str, str], str]:
        """Return what seals the envelopes of runs that differ from ``run`` in nothing but them and ids.

        For use at once: the time of the signature is ``now``, in epoch seconds.
        """
        request, key = run.request, self.signer
        signed = int(now)
        if request.trigger in MACHINES and request.scheduled_at is not None:
            signed = int(request.scheduled_at)
        start = run.start_at if run.start_in is None else now + run.start_in
        until = max(now, start or 0.0) + self.valid_for
        if run.expires_in is not None:
            until = min(until, now + run.expires_in)
        not_before = "" if start is None else str(int(start))
        words = (key.id, str(signed), not_before, str(int(until) + 1))
        facts = (request.job, request.queue, request.priority, request.max_attempts)
        begin, end = _lines("run", self.namespace), _lines(*facts, *words)[len(VERSION) :]
        seal, replaces = ".".join(words), run.admission.overlap == "r"

        def sealed(run_id: str, envelope: str) -> str:
            body = envelope[:-1]
            if replaces:
                proof = key.mac(_lines("replace", self.namespace, request.job, run_id, signed))
                body += f',"y":"{run_id}.{key.id}.{signed}.{proof}"'
            if "\n" in run_id:
                raise SealError("it has a line break where none can be")
            mac = key.mac(b"%b%b%b%b" % (begin, run_id.encode(), end, body.encode()))
            return f'{body},"z":"{seal}.{mac}"}}'

        return sealed

    def check(
        self, envelope: bytes, *, run_id: str, job: str, queue: str, priority: str, attempts: str
    ) -> Sealed | None:
        """Return what the seal of a record says, ``None`` when it has none and needs none.

        Raises ``SealError`` when it has none and needs one, or does not belong to this record.
        """
        body, _, seal = envelope.rpartition(MARK)
        head, _, mac = seal.rpartition(b".")
        known = self._heads.get(head)
        if known is not None and "\n" not in run_id:
            key, lines, sealed = known
            message = b"%b%b\n%b%b%b" % (
                self._begin or self._beginning(),
                run_id.encode("utf-8", "surrogatepass"),
                self._facts.get((job, queue, priority, attempts))
                or self._remember(job, queue, priority, attempts),
                lines,
                body,
            )
            if same(f'{key.mac(message)}"}}'.encode(), mac):
                return sealed
        # New words, or there is something wrong, which is said here.
        return self._check_words(
            body, seal, run_id=run_id, facts=(job, queue, priority, attempts), head=head
        )

    def _check_words(
        self,
        body: bytes,
        seal: bytes,
        *,
        run_id: str,
        facts: tuple[str, str, str, str],
        head: bytes,
    ) -> Sealed | None:
        """Do what :meth:`check` does, and remember the words before the signature, if it is good."""
        words = _words(seal)
        if len(words) != SEAL_WORDS:
            if self.required:
                raise SealError("it is not signed")
            return None
        key_id, signed, not_before, until, mac = words
        if "\n" in run_id or b"\n" in seal:
            raise SealError("it has a line break where none can be")
        key, lines = self._key(key_id), "\n".join((*words[:4], "")).encode()
        message = b"%b%b\n%b%b%b" % (
            self._begin or self._beginning(),
            run_id.encode("utf-8", "surrogatepass"),
            self._facts.get(facts) or self._remember(*facts),
            lines,
            body,
        )
        if not same(key.mac(message), mac):
            raise SealError(
                "its signature does not fit: it was changed, copied, or is of another namespace"
            )
        sealed = _sealed(key_id, int(signed), int(not_before) if not_before else None, int(until))
        if len(self._heads) >= HEADS_MOST:
            self._heads.clear()
        self._heads[head] = key, lines, sealed
        return sealed

    def _beginning(self) -> bytes:
        """Return how the message of every run begins, and keep it."""
        self._begin = _lines("run", self.namespace)
        return self._begin

    def _remember(self, *facts: str) -> bytes:
        """Return the part of a message that many runs have in common, and keep it."""
        if len(self._facts) >= FACTS_MOST:
            self._facts.clear()
        lines = _lines(*facts)[len(VERSION) + 1 :]
        self._facts[facts] = lines  # type: ignore[index]  # there are four
        return lines

    def order(self, word: str, target: str, *, now: float) -> str:
        """Return an order with its seal; ``target`` is the run or supervisor it is for."""
        key, time, nonce = self.signer, int(now), os.urandom(8).hex()
        mac = key.mac(_lines("order", self.namespace, target, word, key.id, time, nonce))
        return f"{word} {key.id}.{time}.{nonce}.{mac}"

    def check_order(self, text: str, target: str) -> tuple[str, int, str]:
        """Return an order's words, the time it was given (epoch seconds) and its nonce.

        Time is 0 and the nonce empty for one that is not signed and need not be. Raises ``SealError``.
        """
        word, _, seal = text.rpartition(" ")
        parts = seal.split(".") if seal.isascii() else []
        if len(parts) != 4:  # noqa: PLR2004 - see the module
            if self.required:
                raise SealError("it is not signed")
            return text, 0, ""
        key_id, time, nonce, mac = parts
        message = _lines("order", self.namespace, target, word, key_id, time, nonce)
        if not same(self._key(key_id).mac(message), mac):
            raise SealError("its signature does not fit")
        return word, int(time), nonce

    def check_proof(self, proof: str, job: str) -> tuple[str, int]:
        """Return the run that replaces others of ``job``, and when it was signed (epoch seconds).

        Raises ``SealError`` when ``proof`` does not come from such a run.
        """
        parts = proof.split(".") if proof.isascii() else []
        if len(parts) != 4:  # noqa: PLR2004 - as made by seal
            raise SealError("it is not signed")
        run_id, key_id, signed, mac = parts
        message = _lines("replace", self.namespace, job, run_id, signed)
        if not same(self._key(key_id).mac(message), mac):
            raise SealError("its signature does not fit")
        return run_id, int(signed)

    def _key(self, key_id: str) -> Key:
        found = self._keys.get(key_id)
        if found is None:
            raise UnknownKeyError(
                f"it is signed with key {key_id[:40]!r}, which is not accepted here"
            )
        return found


class UnknownKeyError(SealError):
    """Raised for a key id that is not known: the key file may have changed since it was read."""


def is_sealed(envelope: bytes) -> bool:
    """Return whether an envelope ends with a seal, genuine or not."""
    return len(_words(envelope.rpartition(MARK)[2])) == SEAL_WORDS


def _words(seal: bytes) -> list[str]:
    """Return the words of a run's seal, none when it is something else, as a member of ``kwargs``."""
    if not seal.endswith(b'"}'):
        return []
    words = seal[:-2]
    if not words.isascii() or len(words.translate(None, b'"\\{}')) != len(words):
        return []
    return words.decode("ascii").split(".")


def _lines(*facts: object) -> bytes:
    """Return facts as bytes that no other facts have; raises ``SealError`` for any with a newline."""
    text = "\n".join((VERSION, *map(str, facts), ""))
    if text.count("\n") != len(facts) + 1:
        raise SealError("it has a line break where none can be")
    return text.encode("utf-8", "surrogatepass")
