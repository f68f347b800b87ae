"""jobctl beside the queues people use today, on one store and one machine."""
