"""S3's operations: what a request asks of the store, and the answer."""
