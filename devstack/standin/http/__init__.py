"""The doors: the routes, the WebSocket and the metadata API."""
