"""The engine: rows and their index joined into databases with commits, history and live queries."""
