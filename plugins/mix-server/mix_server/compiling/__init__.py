"""Compiling for others: in a process of its own, which can be ended at any time, or by another server."""
