"""The virtual router: a document's sections, and one file per service that gives them effect.

`role.py` lists the services. It isn't here so that the metadata service, a process of its own that guests
talk to, doesn't load all of them.
"""
