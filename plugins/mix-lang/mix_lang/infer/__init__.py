"""Strict typing: types of all that a module says, found out where they are not written."""
