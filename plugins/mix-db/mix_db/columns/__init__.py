"""Records as columns: the tables that SQL sees. Rows go in as they are stored, Arrow comes out."""
