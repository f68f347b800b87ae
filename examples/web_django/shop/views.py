from __future__ import annotations

import json
from typing import TYPE_CHECKING

from django.db import transaction
from django.views.decorators.http import require_POST

from jobctl.contrib.django import submit, submit_on_commit
from jobctl.contrib.django.views import accepted
from shop.models import Order

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

    from jobctl.model.run import Run


def allow(request: HttpRequest, run: Run, action: str) -> bool:
    """Let everybody see runs, and only managers revoke other ones than packing."""
    return action == "read" or run.job == "pack" or request.headers.get("X-Role") == "manager"


@require_POST
def order(request: HttpRequest) -> HttpResponse:
    """Take an order; it is packed once it is committed, and never if that fails."""
    asked = json.loads(request.body)
    with transaction.atomic():
        made = Order.objects.create(item=asked["item"])
        run = submit_on_commit("pack", order_id=made.pk)
        if asked.get("change_of_mind"):
            transaction.set_rollback(True)
    return accepted(run)


@require_POST
def start(request: HttpRequest, name: str) -> HttpResponse:
    """Start a job with what the request brings."""
    return accepted(submit(name, **json.loads(request.body or b"{}")))
