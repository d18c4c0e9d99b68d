"""Who speaks, and what happens next: pure decisions."""
