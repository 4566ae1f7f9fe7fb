"""What is stored: versions of records in rows, indexed, and a state of them that is read while others write."""
