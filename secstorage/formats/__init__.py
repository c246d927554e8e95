"""What a file is, told by its content and never by its name; and whether it is safe to have."""
