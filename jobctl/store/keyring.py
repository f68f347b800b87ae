"""The file with the signing keys of a host.

One key a line, ``ID SECRET``, the secret as 64 hexadecimal digits. The last one signs, all are
accepted. Only its owner may read it: a file that others can read is refused, since whoever has a
key can submit runs.
"""

from __future__ import annotations

import os
import stat
import time

from jobctl.errors import ConfigError, NotPermittedError
from jobctl.model.sealing import Key, Ring
from jobctl.store import whole_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jobctl.errors import JobctlError
    from jobctl.model.admission import NewRun
    from jobctl.model.config import Security, Settings

HEAD = """\
# Signing keys of jobctl. Whoever can read this file can submit runs: leave its mode at 0600.
# The last key signs, all are accepted; see `jobctl keys`.
"""
SECRET_BYTES = 32
MOST = 64 * 1024
"""Bytes of a key file that are read at most."""
_ID = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")
_ID_MOST = 32


SINCE = "signing.since"
"""Below the state directory of an embedded store, from the first start on that signed: without a
key file there, it was lost."""


class NoKeysError(ConfigError):
    """Raised when there is no key file."""


def load(path: str) -> list[Key]:
    """Return the keys in a file, oldest first.

    Raises ``NoKeysError`` when there is no such file, ``NotPermittedError`` when it cannot be read,
    and ``ConfigError`` when others can read it or it is not a key file.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise NoKeysError(
            f"there is no key file {path}; make one with `jobctl keys init`, or copy it from another host"
        ) from None
    except OSError as error:
        raise NotPermittedError(
            f"key file {path} cannot be read: {error.strerror}; run this as the user it belongs to"
        ) from error
    try:
        _check_rights(path, os.fstat(handle))
        text = os.read(handle, MOST).decode("ascii", "replace")
    finally:
        os.close(handle)
    keys = [_key(path, number, line) for number, line in _lines(text)]
    if not keys:
        raise ConfigError(f"key file {path} has no key; make one with `jobctl keys rotate`")
    if len({key.id for key in keys}) < len(keys):
        raise ConfigError(f"key file {path} has two keys of the same id; remove one")
    return keys


def _check_rights(path: str, info: os.stat_result) -> None:
    if not stat.S_ISREG(info.st_mode):
        raise ConfigError(f"key file {path} is not a regular file")
    mode = stat.S_IMODE(info.st_mode)
    if mode & 0o077:
        raise ConfigError(
            f"key file {path} can be used by others (mode {mode:04o}); chmod 600 {path}, and rotate "
            "the key if others may have read it"
        )
    us = os.geteuid()
    if us != 0 and info.st_uid not in (0, us):
        raise ConfigError(f"key file {path} belongs to uid {info.st_uid}; chown it to uid {us}")


def _lines(text: str) -> list[tuple[int, str]]:
    found = enumerate(text.splitlines(), 1)
    return [(number, line) for number, line in found if line.strip() and not line.startswith("#")]


def _key(path: str, number: int, line: str) -> Key:
    words = line.split()
    try:
        key_id, secret = words
        data = bytes.fromhex(secret)
    except ValueError:
        raise ConfigError(
            f"{path}:{number}: this is no key; write an id and 64 hexadecimal digits"
        ) from None
    if not is_key_id(key_id) or len(data) < SECRET_BYTES:
        raise ConfigError(
            f"{path}:{number}: this is no key; an id has letters a-z, digits and -, "
            "a secret at least 64 hexadecimal digits"
        )
    return Key(key_id, data)


def is_key_id(text: str) -> bool:
    """Return whether ``text`` can be the id of a key."""
    return 0 < len(text) <= _ID_MOST and _ID.issuperset(text)


def new_key(day: str) -> Key:
    """Return a new random key; ``day`` (``20300131``) begins its id, for people."""
    return Key(f"{day}-{os.urandom(3).hex()}", os.urandom(SECRET_BYTES))


def write(path: str, keys: Sequence[Key], *, fresh: bool = False) -> None:
    """Write a key file in one step; raises ``OSError``.

    With ``fresh``, ``FileExistsError`` when there is one already. What was there keeps its owner;
    a new one that root makes gets the owner of its directory.
    """
    text = HEAD + "".join(f"{key.id} {key.secret.hex()}\n" for key in keys)
    try:
        owner = os.stat(path)  # noqa: PTH116 (texts)
    except FileNotFoundError:
        owner = os.stat(os.path.dirname(path) or ".")  # noqa: PTH116, PTH120 (texts)
    whole_file.write(path, text, owner=owner, fresh=fresh)


def ring(security: Security, *, namespace: str) -> Ring | None:
    """Return the keys that a configuration names, ``None`` when nothing is signed.

    Raises as :func:`load`, and ``ConfigError`` for key ids that are not in the file.
    """
    path = security.key_file
    if path is None or not security.signs:
        return None
    keys = load(path)
    by_id = {key.id: key for key in keys}
    for key_id in (*security.trusted_keys, security.sign_with or keys[-1].id):
        if key_id not in by_id:
            raise ConfigError(
                f"key {key_id} of [security] is not in {path}; see `jobctl keys list`"
            )
    signer = by_id[security.sign_with] if security.sign_with else keys[-1]
    trusted = security.trusted_keys or tuple(by_id)
    return Ring(
        [by_id[key_id] for key_id in trusted],
        namespace=namespace,
        signer=signer,
        valid_for=security.valid_for,
        required=security.require,
    )


def ensure(path: str, *, day: str) -> None:
    """Make the key file of an embedded store, unless it is there or its directory is not.

    Raises ``NotPermittedError`` when that cannot be done.
    """
    if os.path.exists(path) or not os.path.isdir(os.path.dirname(path)):  # noqa: PTH110, PTH112, PTH120 (texts)
        return
    try:
        write(path, [new_key(day)], fresh=True)
    except FileExistsError:
        return
    except OSError as error:
        raise NotPermittedError(
            f"key file {path} cannot be made: {error.strerror}; run this as the user of the daemon"
        ) from error


class Signing:
    """Signs and checks as a configuration says; its key file is read again when it has changed.

    ``now`` tells epoch seconds. ``on_trouble`` is told once when a key file that was good cannot be
    used any more: until it is mended the keys it had go on.
    """

    def __init__(
        self,
        security: Security,
        settings: Settings,
        *,
        now: Callable[[], float],
        on_trouble: Callable[[JobctlError], None],
    ) -> None:
        self._now = now
        self._on_trouble = on_trouble
        self._ring: Ring | None = None
        self._stamp: tuple[int, ...] | None = None
        self.configure(security, settings)

    def configure(self, security: Security, settings: Settings) -> None:
        """Follow another configuration from now on."""
        self._security = security
        self._namespace = settings.namespace
        self._own = settings.redis is None and security.key_file == own_path(settings.state_dir)
        self._stamp = None

    @property
    def ring(self) -> Ring | None:
        """The keys as they are now, ``None`` when nothing is signed; raises as :func:`load`."""
        path = self._security.key_file
        if path is None or not self._security.signs:
            return None
        stamp = _stamp(path)
        if self._ring is not None and stamp == self._stamp:
            return self._ring
        if self._own and not stamp and self._ring is None:
            if os.path.exists(f"{os.path.dirname(path)}/{SINCE}"):  # noqa: PTH110, PTH120 (texts)
                raise NoKeysError(
                    f"key file {path} is gone, and what waits here is signed with it; put it back, or make "
                    "a new one with `jobctl keys init` and submit again what is refused then"
                )
            ensure(path, day=_day(self._now()))
            stamp = _stamp(path)
            if not stamp and not os.path.isdir(os.path.dirname(path)):  # noqa: PTH112, PTH120 (texts)
                return None  # There is no daemon either, which is what has to be said.
        try:
            self._ring = ring(self._security, namespace=self._namespace)
        except (ConfigError, NotPermittedError) as error:
            if self._ring is None:
                raise
            self._on_trouble(error)
        self._stamp = stamp
        return self._ring

    def seal(self, run: NewRun, envelope: str) -> str:
        """Return the envelope of a run with its seal, as it is when nothing is signed."""
        found = self.ring
        return envelope if found is None else found.seal(run, envelope, now=self._now())

    def sealer_of(self, run: NewRun) -> Callable[[str, str], str] | None:
        """Return what seals envelopes of runs like this one now, ``None`` when nothing is signed."""
        found = self.ring
        return None if found is None else found.sealer_of(run, now=self._now())

    def order(self, words: str, target: str) -> str:
        """Return an order with its seal, as it is when nothing is signed."""
        found = self.ring
        return words if found is None else found.order(words, target, now=self._now())


def own_path(state_dir: str) -> str:
    """Return the path of the key file that an embedded store has without being told."""
    return f"{state_dir}/signing.keys"


def _stamp(path: str) -> tuple[int, ...]:
    """Return what changes with a file and its rights; nothing when it cannot be seen."""
    try:
        info = os.stat(path)  # noqa: PTH116 (texts)
    except OSError:
        return ()
    return info.st_mtime_ns, info.st_ctime_ns, info.st_size, info.st_ino


def _day(now: float) -> str:
    year, month, day, *_ = time.gmtime(now)
    return f"{year}{month:02}{day:02}"
