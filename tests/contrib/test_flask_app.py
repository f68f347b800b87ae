from __future__ import annotations

import importlib
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from jobctl.errors import ConfigError
from jobctl.testing import eager, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

flask = pytest.importorskip("flask")
extension = pytest.importorskip("jobctl.contrib.flask")

EXAMPLE = "web_flask"
MANAGER = {"X-Role": "manager"}


@pytest.fixture(scope="module")
def web(example):
    app = importlib.import_module("shop_web").create_app()
    yield app.test_client()
    app.extensions["jobctl"]["extension"].close(app)


def test_submit_is_accepted_and_leads_to_the_result(web) -> None:
    answer = web.post("/letters", json={"to": "Ada"})

    assert answer.status_code == 202
    url = answer.headers["Location"]
    assert answer.json == {"id": url.rpartition("/")[2], "job": "letter", "status_url": url}
    found = web.get(url, query_string={"wait": "30"})
    assert (found.status_code, found.headers["Cache-Control"]) == (200, "no-store")
    assert (found.json["state"], found.json["result"]) == (
        "succeeded",
        "Dear Ada, yours the corner shop",
    )


def test_coroutines_have_the_application_too(web) -> None:
    url = web.post("/jobs/greet", json={"name": "Ada"}).headers["Location"]

    assert web.get(url).status_code == 403
    found = web.get(url, query_string={"wait": "30"}, headers=MANAGER).json
    assert found["result"] == "the corner shop greets Ada", found


def test_what_is_wrong_is_answered_and_not_raised(web) -> None:
    answer = web.post("/letters", json={"too": "Ada"})
    assert answer.status_code == 422
    assert "too: unknown parameter; did you mean to?" in answer.json["error"]["message"]
    answer = web.post("/jobs/nothing", json={})
    assert (answer.status_code, answer.json["error"]["message"]) == (404, "no job 'nothing'")
    assert web.get("/runs/" + "a" * 16).status_code == 404
    assert web.get("/runs/letter").status_code == 404
    url = web.post("/letters", json={"to": "Ada"}).headers["Location"]
    assert web.get(url, query_string={"wait": "long"}).status_code == 400


def test_only_who_may_revokes(web) -> None:
    url = web.post("/jobs/forever", json={}).headers["Location"]
    wait_until(lambda: web.get(url, headers=MANAGER).json["state"] == "running", what="it runs")

    assert web.delete(url).status_code == 403
    assert web.delete(url, headers=MANAGER).status_code == 202
    found = web.get(url, query_string={"wait": "30"}, headers=MANAGER).json
    assert (found["state"], found["error"]["reason"]) == ("revoked", "user")
    assert web.delete(url, headers=MANAGER).status_code == 409


def test_application_of_the_caller_is_the_one_of_an_eager_job(web) -> None:
    web.application.config["SHOP_NAME"] = "another shop"
    with eager():
        url = web.post("/letters", json={"to": "Bob"}).headers["Location"]
        assert web.get(url).json["result"] == "Dear Bob, yours another shop"


def test_application_that_is_none_is_named(web) -> None:
    with pytest.raises(ConfigError, match="neither a Flask application nor makes one"):
        extension.with_app("json:dumps_nothing")(lambda: None)()


def test_generator_is_no_job(web) -> None:
    def rows():
        yield 1

    with pytest.raises(ConfigError, match=r"rows is a generator: .* return a list"):
        extension.with_app("shop_web:create_app")(rows)


def at_once(work: Callable[[], object]) -> list[object]:
    """Do something in eight threads that begin together; return what came of it."""
    begin = threading.Barrier(8)

    def one(_: int) -> object:
        begin.wait(10)
        return work()

    with ThreadPoolExecutor(8) as threads:
        return list(threads.map(one, range(8)))


def test_threads_that_come_first_get_one_client(tmp_path) -> None:
    (tmp_path / "jobs.toml").write_text('[jobs.a]\ncommand = "true"\n')
    app = flask.Flask("shop")
    jobs = extension.Jobctl()
    app.config["JOBCTL_CONFIG"] = tmp_path / "jobs.toml"
    jobs.init_app(app)

    def client() -> object:
        with app.app_context():
            return jobs.client

    assert len(set(at_once(client))) == 1


def test_threads_that_come_first_get_one_application(tmp_path, monkeypatch) -> None:
    (tmp_path / "slow_shop.py").write_text(
        "import time\nimport flask\nmade = []\n"
        "def create_app():\n"
        "    made.append(1)\n    time.sleep(0.05)\n    return flask.Flask(__name__)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    name = extension.with_app("slow_shop:create_app")(lambda: flask.current_app.name)

    assert at_once(name) == ["slow_shop"] * 8
    assert importlib.import_module("slow_shop").made == [1]


def test_store_that_is_away_is_the_servers_fault(web, tmp_path) -> None:
    (tmp_path / "jobs.toml").write_text(
        '[jobs.hello]\ncommand = "true"\n[security]\nsign = "none"\n'
    )
    app = flask.Flask("alone")
    app.config["JOBCTL_CONFIG"] = tmp_path / "jobs.toml"
    app.config["JOBCTL_REDIS"] = "redis://127.0.0.1:1/0"
    jobs = extension.Jobctl(app)
    app.post("/")(lambda: jobs.accepted(jobs.submit("hello")))

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JOBCTL_STORE_WAIT", "0")
        answer = app.test_client().post("/")

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert "127.0.0.1" not in answer.text


def test_key_file_is_the_one_of_the_configuration(web, tmp_path) -> None:
    app = flask.Flask("elsewhere")
    app.config["JOBCTL_KEY_FILE"] = tmp_path / "none.keys"
    jobs = extension.Jobctl(app)
    with app.app_context(), pytest.raises(ConfigError, match=r"no key file .*none\.keys"):
        jobs.submit("letter", to="Ann")
    jobs.close(app)
