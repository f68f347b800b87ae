from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from python_children import Bench, find_python, staged, until

from jobctl.engine.python_host import LATE, PythonChild, SpawnError, child_key, resolve_interpreter
from jobctl.engine.python_spawn import CHILD_FILE

if TYPE_CHECKING:
    from collections.abc import Mapping

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="changes to another user")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture(scope="module")
def venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("venv") / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", path], check=True)
    packages = next(path.glob("lib/python*/site-packages"))
    (packages / "only_there.py").write_text("import sys\ndef go(): return sys.prefix\n")
    return path


def test_virtual_environment_means_its_python(venv: Path) -> None:
    assert resolve_interpreter(str(venv)) == str(venv / "bin" / "python")
    assert resolve_interpreter(str(venv / "bin" / "python3")) == str(venv / "bin" / "python3")


def test_no_interpreter_means_the_one_of_jobctl() -> None:
    assert resolve_interpreter(None) == sys.executable


def test_bare_name_is_looked_up_on_path(venv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(venv / "bin"))
    assert resolve_interpreter("python3") == str(venv / "bin" / "python3")


@pytest.mark.parametrize("value", ["/no/such/place", "no-such-python", "/etc"])
def test_interpreter_that_is_not_there_is_named(value: str) -> None:
    with pytest.raises(SpawnError, match=f"no Python at .*{value}"):
        resolve_interpreter(value)


@staged
async def test_packages_of_the_virtual_environment_are_found(
    bench: Bench, request: pytest.FixtureRequest
) -> None:
    venv = request.getfixturevalue("venv")
    there = Bench(bench.directory, resolve_interpreter(str(venv)))
    try:
        assert (await there.call("only_there:go")).result == json.dumps(str(venv))
    finally:
        there.close()


def _open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def _start_error(interpreter: str, *, env: Mapping[str, str], **key: object) -> str:
    child = PythonChild.start(child_key(interpreter=interpreter, env=env, **key), env=env)
    try:
        with pytest.raises(SpawnError) as caught:
            await asyncio.wait_for(child.ready(), 10)
    finally:
        child.close()
        os.waitpid(child.pid, 0)  # noqa: ASYNC222 - it has ended
        os.close(child.pidfd)
    return str(caught.value)


@staged
async def test_program_that_is_no_python_says_what_it_said(bench: Bench) -> None:
    program = bench.directory / "python"
    program.write_text("#!/bin/sh\necho I am a teapot >&2\n")
    program.chmod(0o755)
    assert await _start_error(str(program), env=bench.env) == (
        f"{program} did not become ready: I am a teapot; "
        "interpreter must name a CPython 3.9 or later that this user can run"
    )


@staged
async def test_program_that_is_no_python_and_says_nothing_is_named(bench: Bench) -> None:
    assert await _start_error("/bin/true", env=bench.env) == (
        "/bin/true ended without a word, so it is probably no Python; "
        "interpreter must name a CPython 3.9 or later that this user can run"
    )


@staged
async def test_child_init_that_does_not_end_is_named(bench: Bench) -> None:
    options = json.dumps({"init": "signal:pause"})
    child = PythonChild.start(bench.key, env=bench.env, options=options)
    bench.children.append(child)
    bench.pids.append(child.pid)
    await until(lambda: b"begins" in os.pread(child._output, 100, 0))
    child._break(LATE)  # as its timer does in a minute
    with pytest.raises(SpawnError) as caught:
        await child.ready()
    assert str(caught.value) == (
        "child_init = signal:pause did not come to an end within 60 s "
        f"in {sys.executable}; mend the function, or child_init of the pool"
    )


@staged
async def test_last_line_of_a_failed_start_has_the_remedy(bench: Bench) -> None:
    program = bench.directory / "python"
    program.write_text("#!/bin/sh\necho no such option -c; echo Try --help\n")
    program.chmod(0o755)
    *said, last = (await _start_error(str(program), env=bench.env)).splitlines()
    assert said == ["no such option -c", "Try --help"]
    assert last == (
        f"{program} did not become ready; "
        "interpreter must name a CPython 3.9 or later that this user can run"
    )


@staged
async def test_python_that_is_too_old_is_told_so(bench: Bench) -> None:
    old = find_python("3.8")
    if old is None:
        pytest.skip("no Python 3.8 on PATH or in pyenv")
    assert "3.9 or later" in await _start_error(old, env=bench.env)


@pytest.mark.parametrize(
    ("interpreter", "key", "message"),
    [
        ("/no/python", {}, "/no/python"),
        ("/etc/passwd", {}, "Permission denied"),
        (
            sys.executable,
            {"cwd": "/no/where"},
            r"^working directory /no/where: No such .* cwd of the job$",
        ),
        (
            sys.executable,
            {"cwd": "/etc/passwd"},
            r"^working directory /etc/passwd: Not a directory",
        ),
        (sys.executable, {"user": "no-such-user"}, "no-such-user"),
        (sys.executable, {"group": "no-such-group"}, "no-such-group"),
    ],
)
@staged
async def test_start_that_fails_says_why(
    bench: Bench, interpreter: str, key: dict[str, str], message: str
) -> None:
    before = _open_descriptors()
    with pytest.raises(SpawnError, match=message):
        PythonChild.start(child_key(interpreter=interpreter, env=bench.env, **key), env=bench.env)
    assert _open_descriptors() == before


@staged
async def test_nice_and_umask_of_the_key_are_in_force(bench: Bench) -> None:
    bench.write("import os\ndef go(): return [os.nice(0), os.umask(0)]\n")
    there = Bench(bench.directory, nice=os.nice(0) + 1, umask=0o027)
    try:
        expected = [os.nice(0) + 1, 0o027]
        assert json.loads((await there.call("go")).result) == expected
        assert json.loads((await there.call("go")).result) == expected
    finally:
        there.close()


@staged
async def test_child_has_a_session_of_its_own_and_no_foreign_descriptors(bench: Bench) -> None:
    bench.write(
        "import os\n"
        "def go():\n"
        "    links = [os.readlink(f'/proc/self/fd/{n}') for n in range(3, 40)\n"
        "             if os.path.exists(f'/proc/self/fd/{n}')]\n"
        "    return [os.getsid(0) == os.getpid(), links]\n"
    )
    own, links = json.loads((await bench.call("go")).result)
    assert own
    strange = [link for link in links if not link.startswith(("/proc/", "socket:", "/dev/null"))]
    assert strange == []


@needs_root
@staged
async def test_user_of_the_key_runs_the_job(bench: Bench) -> None:
    interpreter = shutil.which("python3", path="/usr/bin:/bin")
    if interpreter is None or not CHILD_FILE.stat().st_mode & 0o004:
        pytest.skip("needs an interpreter and a source tree that everybody can read")
    bench.write("import os\ndef go(): return [os.getuid(), os.getgid(), os.getgroups()]\n")
    there = Bench(bench.directory, interpreter, user="nobody")
    path = bench.cwd
    while path != Path("/tmp") and path != Path("/"):
        path.chmod(path.stat().st_mode | 0o055)
        path = path.parent
    try:
        uid, gid, groups = json.loads((await there.call("go")).result)
    finally:
        there.close()
    assert uid == 65534
    assert groups == [gid]
    assert gid != 0


def test_key_tells_apart_what_a_running_child_cannot_change() -> None:
    def key(**env: str) -> object:
        return child_key(interpreter="/bin/python", env={"HOME": "/", **env})

    assert key(JOBCTL_RUN_ID="a") == key(JOBCTL_RUN_ID="b")
    assert key(PYTHONHASHSEED="1") != key(PYTHONHASHSEED="2")
    assert key(LD_PRELOAD="x.so") != key()
