"""The network that `sysvm devcloud up` starts on one machine: an internet, guests, a management end."""
