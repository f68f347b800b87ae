"""A make-believe Debian server: the example's jobs against a directory instead of ``/``.

No job of ``examples/debian-server.toml`` may touch the machine the tests run on. So every absolute
path in a command, a condition or an environment value is moved below a scratch directory
(:meth:`World.moved`), and the programs "installed" there are recorders: they append their name,
arguments and a few variables to a file, and do nothing else. ``/usr/bin`` of the scratch directory
has the few real tools that the lines themselves use; ``date`` there says what the test wants.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

EXAMPLE = Path(__file__).parents[2] / "examples" / "debian-server.toml"

DIRECTORIES = "usr|sbin|bin|etc|var|run|lib"
ABSOLUTE = re.compile(rf"(?<![\w.}}/])/(?=(?:{DIRECTORIES})\b)")
"""The slash that begins an absolute path; not one inside a path, and not ``/dev/null``."""

TOOLS = ("cat", "find", "flock", "grep", "nice", "run-parts", "sed", "sh", "tail", "tee", "true")

RECORDER = """#!/bin/sh
echo "${{0#{root}}} $* SERVICE_MODE=$SERVICE_MODE TZ=$TZ" >> {root}/record
echo "${{0##*/}} ran"
"""

PROGRAMS = """
/etc/cron.daily/hello /etc/cron.daily/popularity-contest /etc/cron.hourly/hello
/etc/cron.monthly/hello /etc/cron.weekly/hello /etc/init.d/anacron /etc/munin/plugins/apt
/sbin/e2scrub_all /usr/bin/certbot /usr/bin/django-admin /usr/bin/geoipupdate /usr/bin/mailman
/usr/bin/munin-cron /usr/bin/ntpviz /usr/bin/php /usr/bin/rnews
/usr/lib/news/bin/news.daily /usr/lib/php/sessionclean /usr/lib/sysstat/debian-sa1
/usr/lib/x86_64-linux-gnu/e2fsprogs/e2scrub_all_cron /usr/lib/zfs-linux/scrub
/usr/lib/zfs-linux/trim /usr/libexec/ntpsec/rotate-stats /usr/sbin/amavisd-new-cronjob
/usr/sbin/apticron /usr/sbin/clamav-unofficial-sigs /usr/sbin/cron-apt /usr/sbin/ctlinnd
/usr/sbin/dma /usr/sbin/invoke-rc.d /usr/sbin/logcheck /usr/sbin/ntploggps /usr/sbin/ntplogtemp
/usr/sbin/sanoid /usr/sbin/tigercron /usr/share/atop/atop.daily
/usr/share/awstats/tools/buildstatic.sh /usr/share/awstats/tools/update.sh
/usr/share/cacti/site/poller.php /usr/share/mailman3-web/manage.py /usr/share/mdadm/checkarray
/usr/share/munin/munin-limits /usr/share/roundcube/bin/cleandb.sh /usr/share/roundcube/bin/gc.sh
"""

SYSTEMD = "/run/systemd/system"
ANACRON = "/usr/sbin/anacron"


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What the comment above a job says about where it comes from."""

    job: str
    package: str
    version: str
    path: str
    line: str | None
    """The crontab line with its blanks run together; ``None`` for a run-parts script."""
    generated: bool
    """The file is written by the package's postinst."""
    timers: tuple[tuple[str, str], ...]
    """Unit name, and its ``On…=`` settings joined by blanks."""

    def command(self) -> str:
        """Return what cron would give to the shell; ``\\%`` is a plain ``%`` there."""
        if self.line is None:
            return self.path
        fields = self.line.removeprefix("#").strip().split(" ")
        first = 2 if fields[0].startswith("@") else 6
        return " ".join(fields[first:]).replace(r"\%", "%")


def load() -> dict[str, Any]:
    return tomllib.loads(EXAMPLE.read_text(encoding="utf-8"))


def enabled_jobs() -> dict[str, dict[str, Any]]:
    return {name: job for name, job in load()["jobs"].items() if job.get("enabled", True)}


def origins() -> dict[str, Origin]:
    """Read the comments of the example; a job without one is left out."""
    found: dict[str, Origin] = {}
    comments: list[str] = []
    for text in EXAMPLE.read_text(encoding="utf-8").splitlines():
        if text.startswith("# "):
            comments.append(text[2:])
        elif header := re.fullmatch(r"\[jobs\.([a-z0-9-]+)\]", text):
            if origin := _origin(header[1], comments):
                found[header[1]] = origin
        else:
            comments = []
    return found


def _origin(job: str, comments: list[str]) -> Origin | None:
    head = re.compile(r"(?P<package>[a-z0-9.+-]+) (?P<version>\S+), (?P<path>/etc/\S+)(?P<rest>.*)")
    first = head.fullmatch(comments[0]) if comments else None
    if first is None:
        return None
    lines = [c.removeprefix("line: ") for c in comments if c.startswith("line: ")]
    timers = [c.removeprefix("timer: ").split(": ", 1) for c in comments if c.startswith("timer: ")]
    return Origin(
        job=job,
        package=first["package"],
        version=first["version"],
        path=first["path"],
        line=lines[0] if lines else None,
        generated="postinst" in first["rest"],
        timers=tuple((unit, settings) for unit, settings in timers),
    )


@dataclass(kw_only=True)
class World:
    """One make-believe server below ``root``; ``sunday`` is what its ``date`` answers."""

    root: Path
    installed: bool = True
    sunday: bool = True
    extra: tuple[str, ...] = ()
    stale: Path = field(init=False)
    """A page of munin's that its clean-up line has to remove."""

    def __post_init__(self) -> None:
        tools = self.root / "usr" / "bin"
        tools.mkdir(parents=True)
        for name in TOOLS:
            real = shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin")
            assert real, f"{name} is needed to run these lines"
            (tools / name).symlink_to(real)
        self.stale = self.root / "var/cache/munin/own/old.html"
        day, weekday = ("01", "0") if self.sunday else ("18", "3")
        self._script("/usr/bin/date", f"case $1 in +%d) echo {day};; +%w) echo {weekday};; esac")
        self._script("/usr/bin/perl", "exit 0")
        if self.installed:
            self._install()
        for path in self.extra:
            if path == SYSTEMD:
                self._at(path).mkdir(parents=True)
            else:
                self._record(path)

    def _at(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def _script(self, path: str, body: str) -> None:
        self._write(path, body if body.startswith("#!") else f"#!/bin/sh\n{body}\n").chmod(0o755)

    def _record(self, path: str) -> None:
        self._script(path, RECORDER.format(root=self.root))

    def _write(self, path: str, text: str) -> Path:
        target = self._at(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        return target

    def _install(self) -> None:
        for path in PROGRAMS.split():
            self._record(path)
        self._write("/etc/GeoIP.conf", "AccountID 4711\n")
        self._write("/etc/default/tiger", "NICETIGER=5\n")
        self._write("/etc/sanoid/sanoid.conf", "")
        self._write("/run/gpsd.sock", "")
        self._write("/var/run/mailman3-web/.keep", "")
        self._write("/var/log/cacti/poller-error.log", "")
        for span in ("day", "week"):
            self._at(f"/var/lib/ntpsec/ntpviz/{span}").mkdir(parents=True)
        self._write("/etc/munin/munin.conf", f"# pages\nhtmldir  {self.stale.parent}\n")
        self.put_stale_page()

    def put_stale_page(self) -> None:
        self.stale.parent.mkdir(parents=True, exist_ok=True)
        self.stale.touch()
        os.utime(self.stale, (0, 0))

    def moved(self, text: str) -> str:
        """Return ``text`` with every absolute path below ``root``."""
        return ABSOLUTE.sub(f"{self.root}/", text)

    def environment(self, job: dict[str, Any]) -> dict[str, str]:
        """Return the variables that the example gives to ``job``, moved."""
        env = load()["defaults"]["env"] | job.get("env", {})
        return {name: self.moved(value) for name, value in env.items()}

    def shell(self, command: str, env: dict[str, str]) -> int:
        """Run one line (already moved) as cron would; wait for its background processes, too."""
        done = subprocess.run(
            ["/bin/sh", "-c", command], env=env, cwd="/", check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20,
        )  # fmt: skip
        return done.returncode

    def take_effects(self) -> list[str]:
        """Return what the recorders wrote, and whether munin's page went, since the last call."""
        record = self.root / "record"
        effects = record.read_text(encoding="utf-8").splitlines() if record.exists() else []
        record.unlink(missing_ok=True)
        if self.installed and not self.stale.exists():
            effects.append("stale page removed")
            self.put_stale_page()
        return effects

    def harmless_copy(self, *, schedule: str) -> dict[str, Any]:
        """Return the example moved into this world: same guards, own users and mails left out."""
        document = load()
        document["defaults"] |= {"mail_on": "never"}
        for table in (document["defaults"], *document["jobs"].values()):
            table.pop("user", None)
            table.pop("mail_to", None)
            table.pop("jitter", None)
            if "env" in table:
                table["env"] = {name: self.moved(value) for name, value in table["env"].items()}
        for job in document["jobs"].values():
            job["schedule"] = schedule
            job["command"] = self.moved(job["command"])
            if "only_if" in job:
                job["only_if"] = self.moved(job["only_if"])
        return document
