"""The entry of ``INSTALLED_APPS``."""

from __future__ import annotations

from django.apps import AppConfig
from django.conf import settings
from django.core import checks
from django.core.exceptions import ImproperlyConfigured

from jobctl.contrib.django.conf import Settings
from jobctl.contrib.django.submitting import client
from jobctl.errors import JobctlError
from jobctl.host import disregard_zone


class JobctlConfig(AppConfig):
    """Checks the settings when Django starts.

    Django gives its process the zone of ``TIME_ZONE``, which is that of what it shows. The zone of
    schedules is that of jobs.toml or of the host, whoever asks.
    """

    name = "jobctl.contrib.django"
    label = "jobctl"
    verbose_name = "jobctl"

    def ready(self) -> None:
        """Raise ``ImproperlyConfigured`` for what is wrong in ``JOBCTL``."""
        Settings.read()
        disregard_zone(getattr(settings, "TIME_ZONE", None))
        checks.register(_check)


def _check(**_: object) -> list[checks.CheckMessage]:
    """Look, for ``manage.py check`` and ``runserver``, at what is else needed at the first request."""
    try:
        Settings.read().allowed()
        client()
    except (ImproperlyConfigured, JobctlError) as error:
        return [checks.Error(str(error), id="jobctl.E001")]
    return []
