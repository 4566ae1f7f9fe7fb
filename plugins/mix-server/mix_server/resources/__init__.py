"""The nouns of the interface, one a module."""
