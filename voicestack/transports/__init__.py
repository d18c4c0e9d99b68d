"""How peers reach a session: one adapter per wire."""
