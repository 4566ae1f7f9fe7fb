"""Messages on topics, as streams follow them."""
