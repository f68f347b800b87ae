"""The entry of ``INSTALLED_APPS``."""

from __future__ import annotations

from django.apps import AppConfig

from jobctl.contrib.django.conf import Settings


class JobctlConfig(AppConfig):
    """Checks the settings when Django starts."""

    name = "jobctl.contrib.django"
    label = "jobctl"
    verbose_name = "jobctl"

    def ready(self) -> None:
        """Raise ``ImproperlyConfigured`` for what is wrong in ``JOBCTL``."""
        Settings.read()
