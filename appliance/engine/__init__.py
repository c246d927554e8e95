"""Plan, apply, verify, roll back: the only code that acts on a machine.

Each module named for a resource kind knows how to observe that kind on a host and how to change it.
"""
