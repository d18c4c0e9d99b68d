"""The ledger on disk: every turn that is over, in SQLite or PostgreSQL, each tenant's for itself."""

import logging

logging.getLogger("alembic").setLevel(logging.WARNING)  # it tells its plug-ins when it is imported
