"""The checks of a program, each a walk over the tree: names, cells, patterns, types."""
