"""Whom the daemon runs as."""

USER = 851
"""By number, as the packet filter knows it."""
GROUP = "sysvm-console"
