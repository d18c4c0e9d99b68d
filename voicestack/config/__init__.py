"""What the server is told before it starts: one frozen tree, with the source of every value."""
