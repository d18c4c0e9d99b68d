"""The command line: each command is a file with `add_arguments(parser)` and `run(args) -> exit code`."""
