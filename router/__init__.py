"""The virtual router: a document's sections, and one file per service that gives them effect."""
