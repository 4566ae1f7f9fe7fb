"""Mix line by line."""
