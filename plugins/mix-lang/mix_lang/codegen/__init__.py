"""QCode from the syntax tree of a checked program."""
