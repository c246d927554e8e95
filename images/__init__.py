"""Image recipes, and the builder of the trees that system VMs and guests run from."""
