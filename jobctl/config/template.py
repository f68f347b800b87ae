"""The jobs.toml that ``jobctl init`` writes: short, valid, and commented."""

from __future__ import annotations

TEMPLATE = """\
# What jobctl runs on this machine, and when. After a change:
#   jobctl check     says what is wrong, with file, line and remedy
#   jobctl reload    makes the running daemon use it
# Durations: 90, "90s", "1h30m", "2d".  Sizes: "512M", "2GiB".

[jobctl]
# redis = "redis://localhost:6379/0"  # one store for several hosts; without it an embedded one
# timezone = "Europe/Berlin"          # of all schedules; without it the zone of this host

# [security]                          # for a store that others can reach: jobctl keys init
# key_file = "/etc/jobctl/signing.keys"

[defaults]                            # for every job; any key of a job may stand here
timeout = "1h"

[jobs.hello]
description = "Says hello every ten minutes"
command = "echo \\"hello from $JOBCTL_JOB, run $JOBCTL_RUN_ID\\""
schedule = "*/10 * * * *"             # also "@daily", "@every 90s", "@reboot", or a list of these

# [jobs.backup]
# command = ["/usr/local/bin/backup", "--all"]   # a list is executed without a shell
# schedule = "30 2 * * *"
# timezone = "Europe/London"
# jitter = "10m"                      # spreads the start over ten minutes
# missed = "once"                     # after downtime one run makes up for all that were missed
# overlap = "skip"                    # no second run while one is going: skip, queue, replace, allow
# retries = 3
# retry_delay = "30s"
# mail_to = "root"                    # when it fails, and when it works again
# env = { TARGET = "/backup" }

# [jobs.thumbnail]                    # without a schedule: jobctl submit thumbnail path=cat.jpg
# python = "shop.media:thumbnail"     # a function, called with its parameters
# params.path = { type = "str" }
# params.width = { type = "int", default = 320, min = 16 }
"""
"""Lines that begin with ``# [`` or ``# key`` are examples, valid when the ``# `` is taken away."""
