"""The kept plain form: when it holds, when it does not, and when it is not trusted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

import jobctl
from jobctl.config import cache, load
from jobctl.config.load import kept_config, load_config, read_config, read_plain
from jobctl.config.problem import ConfigProblems

TEXT = '[jobctl]\nname = "${WHO:-nobody}"\n[jobs.a]\ncommand = "true"\n'


@pytest.fixture
def main(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration that was written long enough ago to be kept."""
    assert home.exists()
    monkeypatch.setattr(cache, "_SETTLED_NS", 0)
    path = tmp_path / "etc" / "jobs.toml"
    path.parent.mkdir()
    path.write_text(TEXT)
    return path


def kept_file(home: Path) -> Path:
    [path] = (home / ".cache" / "jobctl").iterdir()
    return path


def test_the_second_read_is_from_the_cache(main: Path, home: Path) -> None:
    first = read_config(str(main))
    kept = kept_file(home)
    head, _, lines = kept.read_text().partition("\n")
    assert lines.startswith('"a":{')
    lines = lines.replace('"a":{', '"a":{"owner":"from the cache",')
    head = json.dumps(json.loads(head) | {"sum": zlib.crc32(f"\n{lines}".encode())})
    kept.write_text(f"{head}\n{lines}")

    assert first == load_config(main)
    assert read_config(str(main)).jobs["a"].owner == "from the cache"


def test_what_is_kept_is_the_configuration_for_a_daemon_until_a_file_changes(main: Path) -> None:
    assert kept_config(str(main)) is None
    read_plain(str(main))

    assert kept_config(str(main)) == load_config(main)

    main.write_text(TEXT.replace("true", "false"))
    assert kept_config(str(main)) is None


def test_a_daemon_does_not_take_in_a_large_one_at_once(
    main: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_plain(str(main))
    size = kept_file(home).stat().st_size

    monkeypatch.setattr(load, "QUICK_MOST", size)
    assert kept_config(str(main)) is not None
    monkeypatch.setattr(load, "QUICK_MOST", size - 1)
    assert kept_config(str(main)) is None


def test_a_daemon_imports_modules_that_declare_jobs_whatever_is_kept(main: Path) -> None:
    (main.parent / "declaring.py").write_text("")
    main.write_text(f'{TEXT}[python]\ndiscover = ["declaring"]\n')
    read_plain(str(main))

    assert cache.fetch(str(main)) is not None
    assert kept_config(str(main)) is None


def test_one_job_of_what_is_kept_is_found_among_others(main: Path) -> None:
    names = ["b", "a-b", "ab", "A", "x9"]
    more = "".join(f"[jobs.{name}]\ncommand = '{name}: \\n\"a\":{{'\n" for name in names)
    main.write_text(TEXT + more)
    fresh = read_plain(str(main))
    kept = read_plain(str(main))

    assert kept["jobs"] == fresh["jobs"]
    assert isinstance(kept["jobs"], cache.KeptJobs)
    assert list(kept["jobs"]) == ["a", *names]
    assert len(kept["jobs"]) == 6
    assert kept["jobs"]["ab"]["name"] == "ab"
    assert "a-" not in kept["jobs"]
    assert kept["jobs"].get("c") is None
    with pytest.raises(KeyError):
        kept["jobs"]["c"]
    assert read_config(str(main)) == load_config(main)


def test_what_was_kept_and_is_damaged_is_not_used(main: Path, home: Path) -> None:
    fresh = read_plain(str(main))
    kept = kept_file(home)
    kept.write_text(kept.read_text().replace('"a":{', '"a":}'))

    assert cache.fetch(str(main)) is None
    assert read_plain(str(main)) == fresh


@pytest.mark.parametrize("missing", [1, 2, 30])
def test_what_was_kept_and_is_cut_off_is_not_used(main: Path, home: Path, missing: int) -> None:
    fresh = read_plain(str(main))
    kept = kept_file(home)
    kept.write_bytes(kept.read_bytes()[:-missing])

    assert cache.fetch(str(main)) is None
    assert read_plain(str(main)) == fresh


def test_nobody_else_can_read_what_is_kept(main: Path, home: Path) -> None:
    read_plain(str(main))

    assert kept_file(home).stat().st_mode & 0o777 == 0o600
    assert kept_file(home).parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("same_size", [True, False])
def test_a_changed_file_is_read_again(main: Path, *, same_size: bool) -> None:
    read_plain(str(main))
    main.write_text(TEXT.replace("true", "fals" if same_size else "false"))

    assert read_plain(str(main))["jobs"]["a"]["command"].startswith("fals")


def test_a_file_with_its_old_time_and_size_is_read_again(main: Path) -> None:
    read_plain(str(main))
    before = main.stat()
    main.write_text(TEXT.replace("true", "fals"))
    os.utime(main, ns=(before.st_atime_ns, before.st_mtime_ns))

    assert read_plain(str(main))["jobs"]["a"]["command"] == "fals"


def test_a_replaced_file_is_read_again(main: Path) -> None:
    read_plain(str(main))
    other = main.with_name("other")
    other.write_text(TEXT.replace("true", "fals"))
    other.replace(main)

    assert read_plain(str(main))["jobs"]["a"]["command"] == "fals"


def test_a_file_that_became_wrong_is_refused(main: Path) -> None:
    read_plain(str(main))
    main.write_text("[jobs.a]\n")

    with pytest.raises(ConfigProblems):
        read_plain(str(main))


def test_a_file_that_went_away_is_missed(main: Path) -> None:
    read_plain(str(main))
    main.unlink()

    with pytest.raises(ConfigProblems, match="no such file"):
        read_plain(str(main))


def test_included_files_that_come_change_and_go_are_seen(main: Path) -> None:
    main.write_text('include = ["d/*.toml"]\n' + TEXT)
    folder = main.parent / "d"
    folder.mkdir()
    assert set(read_plain(str(main))["jobs"]) == {"a"}

    (folder / "b.toml").write_text("[jobs.b]\ncommand = 'x'")
    assert set(read_plain(str(main))["jobs"]) == {"a", "b"}

    (folder / "b.toml").write_text("[jobs.c]\ncommand = 'x'")
    assert set(read_plain(str(main))["jobs"]) == {"a", "c"}

    (folder / "b.toml").unlink()
    assert set(read_plain(str(main))["jobs"]) == {"a"}


def test_variables_that_were_filled_in_are_compared(
    main: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WHO", raising=False)
    assert read_config(str(main)).settings.name == "nobody"
    monkeypatch.setenv("WHO", "me")
    assert read_config(str(main)).settings.name == "me"
    monkeypatch.delenv("WHO")
    assert read_config(str(main)).settings.name == "nobody"


def test_where_the_state_goes_is_compared(main: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read_plain(str(main))
    monkeypatch.setenv("STATE_DIRECTORY", "/srv/state:/x")

    assert read_config(str(main)).settings.state_dir == "/srv/state"


def test_another_version_does_not_trust_it(main: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read_plain(str(main))
    assert cache.fetch(str(main)) is not None

    with monkeypatch.context() as changed:
        changed.setattr(cache, "__version__", "0.0.0")
        assert cache.fetch(str(main)) is None
    with monkeypatch.context() as changed:
        changed.setattr(cache, "_code_stamp", lambda: [1, 2])
        assert cache.fetch(str(main)) is None
    assert cache.fetch(str(main)) is not None


def test_a_file_that_just_changed_is_not_kept(
    main: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "_SETTLED_NS", 3_600_000_000_000)
    read_plain(str(main))

    assert list((home / ".cache" / "jobctl").iterdir()) == []


@pytest.mark.parametrize("mode", [0o620, 0o602])
def test_what_others_can_write_is_not_trusted(main: Path, home: Path, mode: int) -> None:
    read_plain(str(main))
    kept_file(home).chmod(mode)

    assert cache.fetch(str(main)) is None


def test_a_link_in_its_place_is_not_followed(main: Path, home: Path, tmp_path: Path) -> None:
    read_plain(str(main))
    kept = kept_file(home)
    kept.rename(tmp_path / "elsewhere")
    kept.symlink_to(tmp_path / "elsewhere")

    assert cache.fetch(str(main)) is None


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="gives files away")
def test_what_another_user_owns_is_not_trusted(main: Path, home: Path) -> None:
    read_plain(str(main))
    os.chown(kept_file(home), 12345, 12345)

    assert cache.fetch(str(main)) is None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"depends": {}}', "[" * 5000, "\0"])
def test_a_damaged_cache_is_as_good_as_none(main: Path, home: Path, content: str) -> None:
    read_plain(str(main))
    kept_file(home).write_text(content)

    assert read_plain(str(main))["jobs"]["a"]["command"] == "true"


def test_without_a_place_for_it_nothing_is_kept(
    main: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / ".cache").write_text("in the way")
    assert read_plain(str(main))["jobs"]

    (home / ".cache").unlink()
    (home / ".cache" / "jobctl").mkdir(parents=True)
    (home / ".cache" / "jobctl").chmod(0o770)
    assert read_plain(str(main))["jobs"]
    assert list((home / ".cache" / "jobctl").iterdir()) == []

    monkeypatch.setenv("HOME", "nowhere")
    monkeypatch.setenv("XDG_STATE_HOME", str(home / "state"))
    assert read_plain(str(main))["jobs"]


def test_two_configurations_do_not_mix(main: Path) -> None:
    other = main.with_name("other.toml")
    other.write_text("[jobs.b]\ncommand = 'x'")

    for _ in range(2):
        assert set(read_plain(str(main))["jobs"]) == {"a"}
        assert set(read_plain(str(other))["jobs"]) == {"b"}


def test_the_cached_way_imports_nothing_that_validates(main: Path, home: Path) -> None:
    read_plain(str(main))
    program = (
        "import sys; from jobctl.config.load import read_plain; read_plain(sys.argv[1]);"
        "print([name for name in sys.modules if name.partition('.')[0] in"
        " ('pydantic', 'tree_sitter', 'tomllib', 'croniter', 'asyncio', 'hashlib', 'pathlib', 'dataclasses')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(main)],
        env={"HOME": str(home), "PYTHONPATH": str(Path(jobctl.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout == "[]\n"
