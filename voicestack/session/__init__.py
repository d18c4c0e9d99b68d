"""One conversation: listening, deciding, answering, and keeping account of it."""
