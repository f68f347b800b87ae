"""An application that makes thumbnails in the background. Start it with ``uvicorn app:app``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import FastAPI, Request, Response
from pydantic import BaseModel

from jobctl.contrib.fastapi import Jobctl, JobsClient

if TYPE_CHECKING:
    from jobctl.model.run import Run


def allow(request: Request, run: Run, action: str) -> bool:
    """Let everybody see a run, and only who submitted it revoke it."""
    return action == "read" or run.request.tags.get("user") == request.headers.get("x-user")


class Picture(BaseModel):
    """What is to be made small."""

    path: str
    width: int = 320


app = FastAPI()
jobs = Jobctl(app, allow=allow, revoke=True)


@app.post("/thumbnails", status_code=202)
async def make(picture: Picture, request: Request, client: JobsClient) -> Response:
    """Answer at once; the picture is made by a worker."""
    user = request.headers.get("x-user", "")
    run = await client.submit(
        "thumbnail", path=picture.path, width=picture.width, _tags={"user": user}
    )
    return jobs.accepted(request, run)


@app.post("/jobs/{name}", status_code=202)
async def start(name: str, request: Request, client: JobsClient) -> Response:
    """Start a job that takes nothing."""
    user = request.headers.get("x-user", "")
    return jobs.accepted(request, await client.submit(name, _tags={"user": user}))
