"""What the sections that all roles have can get wrong together."""
