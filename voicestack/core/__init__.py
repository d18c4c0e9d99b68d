"""Values: they know nothing of time, tasks, sockets or files."""
