"""The daemon in the appliance: HTTP API, document store, boot, health, metrics."""
