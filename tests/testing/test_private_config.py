from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from jobctl.config.load import load_config
from jobctl.errors import ConfigError
from jobctl.testing.private_config import private_text, toml_text

APPLICATION = """
include = ["jobs.d/*.toml"]

[jobctl]
redis = "redis://:secret@production/0"
namespace = "shop"
state_dir = "/var/lib/shop"
timezone = "Europe/Berlin"
max_result = "2M"

[security]
key_file = "/etc/shop/keys"

[mail]
smtp = "smtp://mail.example.org"

[defaults]
cwd = "work"
mail_to = "ops@example.org"

[pools.default]
queues = ["default"]

[pools.wide]
slots = 9

[jobs.send]
command = "true"
user = "nobody"
ping_url = "https://example.org/ping"
env_file = "send.env"
schedule = "0 3 * * *"
kwargs = { to = "a@b" }
params.to = { type = "str", pattern = "[a-z]+@[a-z\\"\\\\\\\\.]+" }
"""


def written(tmp_path):
    folder = tmp_path / "app"
    (folder / "jobs.d").mkdir(parents=True)
    (folder / "jobs.toml").write_text(APPLICATION)
    (folder / "jobs.d/more.toml").write_text(
        '[jobs.more]\npython = "shop:more"\ninterpreter = ".venv"\ncwd = "sub"\n'
    )
    return folder


def test_only_what_defines_jobs_is_taken_from_a_file(tmp_path) -> None:
    folder = written(tmp_path)
    settings = {"state_dir": str(tmp_path / "state"), "name": "test"}
    private = tmp_path / "private.toml"
    private.write_text(private_text(folder / "jobs.toml", root="/", settings=settings, slots=3))
    config = load_config(private)

    assert (config.settings.redis, config.settings.namespace) == (None, "default")
    assert config.settings.state_dir == str(tmp_path / "state")
    assert (config.settings.timezone, config.settings.max_result) == ("Europe/Berlin", 2 << 20)
    assert config.mail.smtp is None
    assert config.security.key_file.startswith(str(tmp_path / "state"))
    assert "production" not in private.read_text()
    send, more = config.jobs["send"], config.jobs["more"]
    assert (send.user, send.mail_to, send.ping_url) == (None, (), None)
    assert (send.cwd, send.env_file) == (str(folder / "work"), (str(folder / "send.env"),))
    assert (more.cwd, more.interpreter) == (str(folder / "sub"), str(folder / ".venv"))
    assert send.schedules[0].rule == "0 3 * * *"
    assert {name: pool.slots for name, pool in config.pools.items()} == {"default": 3, "wide": 9}


def test_job_of_two_files_is_refused(tmp_path) -> None:
    folder = written(tmp_path)
    (folder / "jobs.d/again.toml").write_text('[jobs.send]\ncommand = "true"\n')

    with pytest.raises(ConfigError, match=r"jobs\.send is defined in two files"):
        private_text(folder / "jobs.toml", root="/", settings={}, slots=1)


def test_declared_jobs_are_found_beside_the_original(tmp_path) -> None:
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "jobs.toml").write_text(
        '[python]\ndiscover = ["declares"]\n[jobs.plain]\ncommand = "pwd"\n'
    )
    (folder / "declares.py").write_text(
        "from jobctl import job\n@job(retries=2)\ndef resize(path: str): ...\n"
    )
    private = tmp_path / "private.toml"
    settings = {"state_dir": str(tmp_path / "state")}
    private.write_text(private_text(folder / "jobs.toml", root="/", settings=settings, slots=1))
    config = load_config(private)

    assert config.jobs["resize"].cwd == str(folder)
    assert [spec.name for spec in config.jobs["resize"].params] == ["path"]
    assert config.jobs["plain"].cwd == "~"


values = st.recursive(
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=3)
    ),
    max_leaves=5,
)
names = st.text(st.characters(codec="utf-8"), max_size=8)


@examples(max_examples=50)
@given(st.dictionaries(names, values | st.dictionaries(names, values, max_size=3), max_size=4))
def test_written_toml_says_what_was_meant(tables) -> None:
    assert tomllib.loads(toml_text(tables)) == tables
