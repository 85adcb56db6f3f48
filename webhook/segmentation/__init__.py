"""Images to alpha mattes: the networks, their weights, the device, and how they are run.

Nothing is imported here, so that a network can be read and used alone.
"""
