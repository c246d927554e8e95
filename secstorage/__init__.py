"""Secondary storage: templates, ISOs and snapshots over a shared file system."""
