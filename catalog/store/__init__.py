"""The database: connection, schema, views, and the one way to write."""
