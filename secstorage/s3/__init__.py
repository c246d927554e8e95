"""The S3 API over a directory: its buckets are directories, its objects are plain files.

A daemon of its own (`python3 -m secstorage.s3 CONFIGURATION`). It keeps nothing in memory that another
daemon in front of the same directory would need; docs/s3.md says what is on disk and which operations there
are.
"""
