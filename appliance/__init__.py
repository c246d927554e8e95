"""What every system VM is made of, and the plane that drives them."""

__version__ = "0.1.0"
