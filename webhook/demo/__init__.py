"""What `python -m webhook demo` and the end-to-end tests start around the service.

Nothing of the service itself lives here, and nothing of the service may lean on it.
"""


class DemoError(Exception):
    """The demo can't go on; the message is for the person who started it."""
