"""Templates of daemons' configuration: `<daemon>/<file>.j2`."""
