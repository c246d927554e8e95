"""The services that every role has."""
