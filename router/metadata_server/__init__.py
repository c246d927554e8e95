"""The metadata and password service: CloudStack, EC2, OpenStack and NoCloud data for the guests of a router.

Its own unprivileged process with the standard library only: it answers what guests send, so it can do
nothing but read its records and unlink a password that was acknowledged.
"""
