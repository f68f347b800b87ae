"""``path("runs/", include("jobctl.contrib.django.urls"))``."""

from __future__ import annotations

from django.urls import path

from jobctl.contrib.django.views import NAME, RunView

urlpatterns = [path("<str:run_id>", RunView.as_view(), name=NAME)]
