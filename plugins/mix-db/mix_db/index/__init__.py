"""The index of a database: which rows have which value at which path."""
