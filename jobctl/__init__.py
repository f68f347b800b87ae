"""A job runner for scripts and a replacement for cron."""

__version__ = "0.1.0"
