"""Tunnels and remote users, as the daemons and the kernel know them: `GET /v1/vpn`, and metrics."""
