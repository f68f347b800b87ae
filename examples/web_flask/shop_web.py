"""An application that writes letters in the background. Start it with ``flask --app shop_web run``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Flask, Response, request

from jobctl.contrib.flask import Jobctl

if TYPE_CHECKING:
    from jobctl.model.run import Run


def allow(run: Run, action: str) -> bool:
    """Let everybody see letters, and only managers anything else."""
    return (run.job == "letter" and action == "read") or request.headers.get("X-Role") == "manager"


jobs = Jobctl(allow=allow)


def create_app() -> Flask:
    """Make the application; workers do it too."""
    app = Flask(__name__)
    app.config.update(SHOP_NAME="the corner shop", JOBCTL_REVOKE=True, JOBCTL_MAX_WAIT=30)
    jobs.init_app(app)

    @app.post("/letters")
    def write() -> Response:
        return jobs.accepted(jobs.submit("letter", **request.get_json()))

    @app.post("/jobs/<name>")
    def start(name: str) -> Response:
        return jobs.accepted(jobs.submit(name, **request.get_json()))

    return app
