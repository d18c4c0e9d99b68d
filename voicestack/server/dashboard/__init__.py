"""The dashboard: its pages, the questions that they ask, and what they are told as it happens."""
