"""Django: settings, a client, submit on commit, views, and the ORM in workers.

::

    INSTALLED_APPS = [..., "jobctl.contrib.django"]
    JOBCTL = {"CONFIG": BASE_DIR / "jobs.toml"}

Modules of jobs begin with ``from jobctl.contrib.django import job``: in a worker that sets Django up
before the models below it are imported, and jobs that it declares give connections back. See
docs/how-to/django.md.
"""

from __future__ import annotations

from jobctl.contrib.django.submitting import client, submit, submit_on_commit
from jobctl.contrib.django.working import job, set_up, with_connections

__all__ = ["client", "job", "set_up", "submit", "submit_on_commit", "with_connections"]

set_up(only_in_workers=True)
