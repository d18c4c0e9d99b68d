"""The directory is the category."""
