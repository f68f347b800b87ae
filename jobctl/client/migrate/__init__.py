"""Coming from cron, anacron, systemd timers and celery beat, and going back."""
