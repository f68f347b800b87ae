from __future__ import annotations

import importlib
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from jobctl.errors import ConfigError
from jobctl.testing import PrivateDaemon, wait_until

testclient = pytest.importorskip("fastapi.testclient")

EXAMPLE = "web_fastapi"


@pytest.fixture(scope="module")
def web(example):
    with testclient.TestClient(importlib.import_module("app").app) as web:
        yield web


def ended(web, url):
    return web.get(url, params={"wait": "30"}).json()


def test_submit_is_accepted_and_leads_to_the_result(web) -> None:
    answer = web.post("/thumbnails", json={"path": "cat.jpg", "width": 640})

    assert answer.status_code == 202
    url = answer.headers["location"]
    assert answer.json() == {"id": url.rpartition("/")[2], "job": "thumbnail", "status_url": url}
    assert answer.headers["retry-after"] == "1"
    found = ended(web, url)
    assert (found["state"], found["final"]) == ("succeeded", True)
    assert found["result"] == {"path": "cat.jpg", "width": 640}
    assert found["error"] is None


def test_failure_is_told_in_one_line(web) -> None:
    url = web.post("/thumbnails", json={"path": "cat.txt"}).headers["location"]

    wait_until(lambda: web.get(url).json()["state"] == "retrying", what="its first failure")
    answer = web.get(url)
    assert (answer.json()["final"], answer.json()["error"]) == (False, None)
    assert answer.headers["retry-after"] == "1"


def test_wrong_arguments_are_the_askers_fault(web) -> None:
    answer = web.post("/jobs/thumbnail")

    assert answer.status_code == 422
    assert answer.json()["error"]["code"] == "usage"
    assert "path: is missing" in answer.json()["error"]["message"]
    answer = web.post("/jobs/thumbnial")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


ODD = """
[jobctl]
allow_pickle = true
[defaults]
cwd = "."
[jobs.half]
python = "odd:half"
[jobs.packed]
python = "odd:packed"
result_format = "pickle"
[jobs.unpacked]
python = "odd:unpacked"
result_format = "pickle"
"""
CODE = """
def half(): return "\\ud800"
def packed(): return {"rows": (1, 2)}
def unpacked(): return float("nan")
"""


def test_every_result_can_be_told(tmp_path) -> None:
    fastapi = importlib.import_module("fastapi")
    contrib = importlib.import_module("jobctl.contrib.fastapi")
    (tmp_path / "jobs.toml").write_text(ODD)
    (tmp_path / "odd.py").write_text(CODE)
    with PrivateDaemon(tmp_path / "jobs.toml") as daemon:
        app = fastapi.FastAPI()
        contrib.Jobctl(app, config=daemon.config, max_wait=30)
        with testclient.TestClient(app) as own:
            told = [
                own.get(f"/runs/{daemon.client.submit(job).id}", params={"wait": "30"})
                for job in ("half", "packed", "unpacked")
            ]
    assert [one.json()["result"] for one in told] == ["\ud800", {"rows": [1, 2]}, "NaN"]


def test_result_that_is_not_read_is_told_as_such(tmp_path) -> None:
    fastapi = importlib.import_module("fastapi")
    contrib = importlib.import_module("jobctl.contrib.fastapi")
    (tmp_path / "jobs.toml").write_text(ODD.replace("allow_pickle = true", ""))
    (tmp_path / "odd.py").write_text(CODE)
    with PrivateDaemon(tmp_path / "jobs.toml") as daemon:
        app = fastapi.FastAPI()
        contrib.Jobctl(app, config=daemon.config, max_wait=30)
        with testclient.TestClient(app) as own:
            told, usual = (
                own.get(f"/runs/{daemon.client.submit(job).id}", params={"wait": "30"}).json()
                for job in ("packed", "half")
            )
    assert (told["state"], told["result"]) == ("succeeded", None)
    assert "the result is a pickle" in told["result_unread"]
    assert "result_unread" not in usual


@pytest.mark.parametrize(
    "wrong", [{"revoke": "false"}, {"max_wait": "x"}, {"allow": 3}, {"foo": 1}]
)
def test_wrong_setting_is_told_at_once(wrong) -> None:
    fastapi = importlib.import_module("fastapi")
    contrib = importlib.import_module("jobctl.contrib.fastapi")
    with pytest.raises((ConfigError, TypeError), match=r"revoke|max_wait|allow|foo"):
        contrib.Jobctl(fastapi.FastAPI(), **wrong)


def test_web_socket_has_the_client_too(example) -> None:
    fastapi = importlib.import_module("fastapi")
    contrib = importlib.import_module("jobctl.contrib.fastapi")
    app = fastapi.FastAPI()
    contrib.Jobctl(app)

    async def follow(socket, client) -> None:
        await socket.accept()
        run = await client.submit("thumbnail", path="cat.jpg")
        await socket.send_json(await run.wait(30))
        await socket.close()

    follow.__annotations__ = {"socket": fastapi.WebSocket, "client": contrib.JobsClient}
    app.websocket("/follow")(follow)
    with testclient.TestClient(app) as own, own.websocket_connect("/follow") as socket:
        assert socket.receive_json()["path"] == "cat.jpg"


def test_requests_that_come_first_get_one_client(example) -> None:
    fastapi = importlib.import_module("fastapi")
    contrib = importlib.import_module("jobctl.contrib.fastapi")
    app = fastapi.FastAPI()
    jobs = contrib.Jobctl(app)
    given, begin = [], threading.Barrier(8)

    def plain(client) -> None:
        given.append(client)

    def direct() -> None:
        begin.wait(10)
        given.append(jobs.client)

    plain.__annotations__ = {"client": contrib.JobsClient}
    app.get("/plain")(plain)
    app.get("/direct")(direct)
    with testclient.TestClient(app) as own, ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(own.get, ["/direct"] * 8 + ["/plain"] * 8))
    assert [answer.status_code for answer in answers] == [200] * 16
    assert len(given) == 16
    assert len(set(given)) == 1


def test_only_whole_ids_are_looked_for(web) -> None:
    url = web.post("/thumbnails", json={"path": "cat.jpg"}).headers["location"]
    run_id = url.rpartition("/")[2]

    for other in ("thumbnail", run_id[:8], "@last", "a" * 16):
        answer = web.get(f"/runs/{other}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


def test_only_who_may_revokes(web) -> None:
    answer = web.post("/jobs/forever", headers={"x-user": "ada"})
    url = answer.headers["location"]
    wait_until(lambda: web.get(url).json()["state"] == "running", what="it runs")
    wait_until(lambda: web.get(url).json()["progress"], what="it tells how far it is")
    assert web.get(url).json()["progress"] == {"percent": 10.0, "message": "waiting"}

    refused = web.delete(url, headers={"x-user": "eve"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "not_permitted")
    assert web.get(url, params={"wait": "0.01"}).json()["state"] == "running"
    assert web.delete(url, headers={"x-user": "ada"}).status_code == 202
    found = ended(web, url)
    assert (found["state"], found["error"]["reason"]) == ("revoked", "user")
    assert web.delete(url, headers={"x-user": "ada"}).status_code == 409


@pytest.mark.parametrize("wait", ["soon", "-1", "nan", "inf"])
def test_wait_that_is_no_time_is_refused(web, wait) -> None:
    url = web.post("/thumbnails", json={"path": "cat.jpg"}).headers["location"]

    assert web.get(url, params={"wait": wait}).status_code == 400
