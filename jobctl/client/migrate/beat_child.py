"""Tells what is in an application's beat schedule; run by the application's own interpreter.

Needs nothing but the standard library, from Python 3.9 on. ``python beat_child.py MODULE[:APP] FD``
writes one JSON document to the descriptor; the application may print what it likes.
"""

from __future__ import annotations

import datetime as dt
import importlib
import json
import os
import sys

SETS = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")


def main() -> None:
    """Write what was found, or why nothing was."""
    spec, fd = sys.argv[1], int(sys.argv[2])
    # This file's directory would hide the application's modules behind ours.
    sys.path[0] = os.getcwd()  # noqa: PTH109 (texts)
    try:
        answer = describe(find_app(spec))
    except Exception as error:  # noqa: BLE001 (whatever the application raises)
        answer = {"error": f"{type(error).__name__}: {error}"}
    with os.fdopen(fd, "w", encoding="utf-8") as out:
        json.dump(answer, out)
    # The application may have started threads.
    sys.stdout.flush()
    os._exit(0)


def find_app(spec: str) -> object:
    """Return the application that ``module:name`` means; the name may be left out."""
    module_name, _, name = spec.partition(":")
    module = importlib.import_module(module_name)
    if name:
        found: object = module
        for part in name.split("."):
            found = getattr(found, part)
        return found
    for known in ("app", "celery", "application"):
        if hasattr(getattr(module, known, None), "conf"):
            return getattr(module, known)
    raise LookupError(f"no application in {module_name}: name it, as in {module_name}:app")


def describe(app: object) -> dict[str, object]:
    """Return the entries of ``app.conf.beat_schedule``, and what they depend on."""
    conf = app.conf  # type: ignore[attr-defined]
    trouble = import_tasks(app)
    entries = conf.beat_schedule or {}
    return {
        "timezone": str(getattr(app, "timezone", "") or ""),
        "broker": str(conf.broker_url or "").partition(":")[0],
        "trouble": trouble,
        "entries": [entry(app, str(name), dict(held)) for name, held in entries.items()],
    }


def import_tasks(app: object) -> str:
    """Import the modules in which the application looks for tasks; return what went wrong."""
    importer = getattr(getattr(app, "loader", None), "import_default_modules", None)
    if importer is None:
        return ""
    try:
        importer()
    except Exception as error:  # noqa: BLE001 (a task module that fails on its own)
        return f"{type(error).__name__}: {error}"
    return ""


def entry(app: object, name: str, held: dict[str, object]) -> dict[str, object]:
    """Return one entry as plain data."""
    task = str(held.get("task", name))
    return {
        "name": name,
        "task": task,
        "target": target(app, task),
        "schedule": schedule(held.get("schedule")),
        "args": plain(list(held.get("args") or ())),  # type: ignore[call-overload]
        "kwargs": plain(dict(held.get("kwargs") or {})),  # type: ignore[call-overload]
        "options": plain(dict(held.get("options") or {})),  # type: ignore[call-overload]
    }


def plain(value: object) -> object:
    """Return a value as JSON has it, or a mark that it has none."""
    try:
        text = json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return {"__not_plain__": repr(value)}
    return json.loads(text)


def schedule(held: object) -> dict[str, object]:
    """Return what an entry's schedule says, by its shape: no class is asked for by name."""
    if isinstance(held, bool) or held is None:
        return {"kind": "unknown", "text": repr(held)}
    if isinstance(held, (int, float)):
        return {"kind": "every", "seconds": float(held), "text": repr(held)}
    if isinstance(held, dt.timedelta):
        return {"kind": "every", "seconds": held.total_seconds(), "text": repr(held)}
    if all(hasattr(held, name) for name in SETS):
        sets = {name: sorted(int(one) for one in getattr(held, name)) for name in SETS}
        return {"kind": "crontab", "text": repr(held), "sets": sets}
    every = getattr(held, "run_every", None)
    if isinstance(every, dt.timedelta):
        return {
            "kind": "every",
            "seconds": every.total_seconds(),
            "text": repr(held),
            "relative": bool(getattr(held, "relative", False)),
        }
    return {"kind": "unknown", "text": repr(held)}


def target(app: object, task: str) -> str:
    """Return ``module:name`` under which the task can be called, or an empty text."""
    registered = getattr(app, "tasks", {}).get(task)
    run = getattr(registered, "run", registered)
    module = getattr(run, "__module__", "")
    name = getattr(run, "__qualname__", "")
    if not module or not name or "<" in name or module == "__main__":
        return ""
    found: object = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return f"{module}:{name}" if callable(found) else ""


if __name__ == "__main__":
    main()
