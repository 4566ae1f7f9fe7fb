"""The language server of Mix."""
