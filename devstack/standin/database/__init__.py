"""The database: migrations and triggers, its catalogue, and the SQL of a request."""
