from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from jobctl.store import scripts

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def lua(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(scripts, "_FOLDER", f"{tmp_path}/")
    monkeypatch.setattr(scripts, "_loaded", {})
    return tmp_path


def test_script_is_known_by_the_hash_of_its_source(lua: Path) -> None:
    source = b"#!lua flags=allow-oom\nreturn 1\n"
    (lua / "beat.lua").write_bytes(source)
    found = scripts.script("beat")
    assert (found.name, found.source) == ("beat", source)
    assert found.sha == hashlib.sha1(source).hexdigest()
    assert scripts.script("beat") is found


def test_include_is_replaced_by_the_common_text(lua: Path) -> None:
    (lua / "common.lua").write_text("local function ring() end\n")
    (lua / "submit.lua").write_text("#!lua\n-- header\n--#include common\nreturn ring()\n")
    assert scripts.script("submit").source.decode() == (
        "#!lua\n-- header\nlocal function ring() end\nreturn ring()\n"
    )


def test_part_may_include_other_parts(lua: Path) -> None:
    (lua / "base.lua").write_text("local a = 1")
    (lua / "common.lua").write_text("--#include base\nlocal b = a\n")
    (lua / "submit.lua").write_text("#!lua\n--#include common\nreturn b\n")
    assert scripts.script("submit").source == b"#!lua\nlocal a = 1\nlocal b = a\nreturn b\n"


def test_parts_are_no_scripts() -> None:
    assert {"common", "moves", "admit"}.isdisjoint(scripts.names())
    assert {"submit", "claim", "settle"} <= set(scripts.names())


def test_changed_common_text_changes_the_hash(lua: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (lua / "submit.lua").write_text("#!lua\n--#include common\nreturn 1\n")
    (lua / "common.lua").write_text("local a = 1\n")
    before = scripts.script("submit").sha
    monkeypatch.setattr(scripts, "_loaded", {})
    (lua / "common.lua").write_text("local a = 2\n")
    assert scripts.script("submit").sha != before


def test_include_without_a_last_newline_does_not_swallow_the_next_line(lua: Path) -> None:
    (lua / "common.lua").write_text("local a = 1")
    (lua / "submit.lua").write_text("#!lua\n--#include common\nreturn a\n")
    assert b"local a = 1\nreturn a" in scripts.script("submit").source


def test_script_without_shebang_is_a_mistake(lua: Path) -> None:
    (lua / "submit.lua").write_text("return 1\n")
    with pytest.raises(ValueError, match="#!lua"):
        scripts.script("submit")


@pytest.mark.usefixtures("lua")
def test_unknown_script_is_a_mistake() -> None:
    with pytest.raises(FileNotFoundError):
        scripts.script("nothing")


def test_part_that_comes_later_is_where_the_script_wants_it(lua: Path) -> None:
    (lua / "common.lua").write_text("-- first\n--#include slots\n-- last\n")
    (lua / "slots.lua").write_text("-- slots\n")
    (lua / "claim.lua").write_text(
        "#!lua\n--#later slots\n--#include common\n-- own\n--#include slots\n"
    )
    wanted = b"#!lua\n--#later slots\n-- first\n-- last\n-- own\n-- slots\n"
    assert scripts.script("claim").source == wanted


@pytest.mark.parametrize("name", ["claim", "submit", "settle"])
def test_each_part_of_all_scripts_is_in_a_script_once(name: str) -> None:
    source = scripts.script(name).source
    for first in (b"local P = KEYS[1]", b"local function is_rate(", b"local function tell_end("):
        assert source.count(first) == 1
