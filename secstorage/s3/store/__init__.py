"""Buckets, objects, versions and uploads as files. Nothing in here knows of HTTP."""
