"""The steps, each in a file of its own; none is ever changed after a release."""
