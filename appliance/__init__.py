"""What every system VM is made of, and the plane that drives them."""
