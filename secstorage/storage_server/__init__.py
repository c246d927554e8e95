"""The storage daemon: jobs on stores, and its API on a unix socket. It has its own user's rights only."""
