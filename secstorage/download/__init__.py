"""Files from anywhere: whoever is asked may lie, trickle, break off or lead elsewhere."""
