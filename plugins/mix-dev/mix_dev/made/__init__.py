"""Apps that are made, and served while one works on them."""
