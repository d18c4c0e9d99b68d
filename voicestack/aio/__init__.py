"""The only place where a clock is read, a task is started or a queue is held."""
