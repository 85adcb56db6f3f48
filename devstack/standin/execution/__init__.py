"""One GraphQL request: read, checked, run, and answered."""
