"""``jobctl keys``: the keys that sign runs and orders."""

from __future__ import annotations

from jobctl.client.signing_keys import KeyFile
from jobctl.errors import ExitCode, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.cli.invocation import Invocation

WITH_ID = ("use", "retire")
ACTIONS = ("init", "list", "add", "rotate", *WITH_ID)


def keys(call: Invocation, *, action: str, key: str | None, file: str | None) -> int:
    """Carry out one action on the key file."""
    if action not in ACTIONS:
        raise UsageError(f"{action[:40]!r} is none of {', '.join(ACTIONS)}")
    if (action in WITH_ID) != (key is not None):
        raise UsageError(
            f"jobctl keys {action} {'needs the id of a key' if action in WITH_ID else 'takes no id'}"
        )
    place = KeyFile(call.session, file)
    made = _act(place, action, key)
    listed = place.keys()
    if call.console.json:
        call.console.document(
            {"path": place.path, "keys": [{"id": name, "does": does} for name, does in listed]}
        )
        return ExitCode.OK
    if action == "list":
        for name, does in listed:
            call.console.data(f"{name}  {does}")
        return ExitCode.OK
    if made is not None:
        call.console.data(made)
    call.console.talk(_advice(place, action))
    return ExitCode.OK


def _act(place: KeyFile, action: str, key: str | None) -> str | None:
    """Do it; return the id of a key that was made."""
    if action == "init":
        return place.init()
    if action in {"add", "rotate"}:
        return place.add(sign=action == "rotate")
    if key is not None:
        place.use(key) if action == "use" else place.retire(key)
    return None


def _advice(place: KeyFile, action: str) -> str:
    said = {
        "init": "Runs are signed with this key, and only what is signed is run.",
        "add": "The new key is accepted, and does not sign yet.",
        "rotate": "The new key signs, the older ones are still accepted.",
        "use": "It signs, the others are still accepted.",
        "retire": "What it has signed is refused from now on.",
    }[action]
    lines = [said]
    if not place.in_use:
        lines += ["Write into jobs.toml, on every host:", "", "    [security]", f'    key_file = "{place.path}"', ""]  # fmt: skip
    if action != "retire":
        lines.append(
            "Copy the file to every host of the namespace, for the user of its daemon alone, for example:\n"
            f"    scp -p {place.path} HOST:{place.path}"
        )
    if action == "add":
        lines.append("When it is everywhere: jobctl keys use ID, and copy the file again.")
    if action in {"rotate", "use"}:
        lines.append("When no run that an older key signed waits any more: jobctl keys retire ID.")
    if action == "init":
        lines.append("Then restart or reload the daemons: jobctl reload")
    return "\n".join(lines)
