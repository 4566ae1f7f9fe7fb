"""Files over HTTP: how one is answered, stored, and sent in parts that survive."""
