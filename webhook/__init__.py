"""Background removal for Hasura and S3."""

__version__ = "0.1.0"
