"""A task board: JSON API, SQLite or PostgreSQL, and a page that follows every change live."""
