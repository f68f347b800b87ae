from __future__ import annotations

from django.urls import include, path

from shop import views

urlpatterns = [
    path("orders", views.order),
    path("jobs/<str:name>", views.start),
    path("runs/", include("jobctl.contrib.django.urls")),
]
