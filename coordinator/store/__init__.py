"""The coordinator's database: SQLite by default, PostgreSQL by URL."""
