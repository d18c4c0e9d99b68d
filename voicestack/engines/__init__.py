"""One engine per file: what hears, understands, writes and speaks, behind the shapes of `ports`."""
