"""The management plane: what every appliance should be, and the loop that makes it so."""
