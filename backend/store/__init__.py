"""Schema, database, audit chain, artifacts, migrations."""
