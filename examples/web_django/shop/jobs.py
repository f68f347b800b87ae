"""The jobs. The first import sets Django up in a worker; models come below it."""

from __future__ import annotations

import signal

from jobctl.contrib.django import job

from shop.models import Order  # isort: skip


@job("pack", retries=2)
def pack_order(order_id: int) -> dict[str, object]:
    """Pack what was ordered."""
    order = Order.objects.get(pk=order_id)
    order.packed = True
    order.save(update_fields=["packed"])
    return {"order": order_id, "item": order.item}


@job
async def count_packed() -> int:
    """Count packed orders without holding up the event loop."""
    return await Order.objects.filter(packed=True).acount()


@job
def forever() -> None:
    """Run until somebody revokes it."""
    signal.pause()
