"""The ledger on disk: every turn that is over, in SQLite or PostgreSQL, each tenant's for itself."""
