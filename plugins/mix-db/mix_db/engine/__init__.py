"""The engine: rows and their index joined into databases with records, history and queries."""
