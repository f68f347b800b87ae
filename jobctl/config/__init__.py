"""From jobs.toml to a checked, immutable :class:`jobctl.model.config.Config`."""
