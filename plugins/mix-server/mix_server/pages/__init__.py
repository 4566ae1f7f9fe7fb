"""Static files of the server's own pages."""
