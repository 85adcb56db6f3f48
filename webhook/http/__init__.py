"""The webhook over HTTP: the Starlette app, and the limits of each connection."""
