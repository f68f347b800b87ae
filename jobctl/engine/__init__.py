"""The daemon: supervisor, scheduler, rescuer, pools and attempts."""
