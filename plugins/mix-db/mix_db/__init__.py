"""mixquery, the embedded document database of mixkit."""
