"""What the demo and the end-to-end tests start around the service: `python -m devstack`.

Nothing of the service itself lives here, and nothing of the service may lean on it.
"""


class DemoError(Exception):
    """The demo can't go on; the message is for the person who started it."""
