"""Hasura's metadata as frozen models, with templates and environment filled in; no files here.

Closed and strict: what Hasura refuses is refused, and so is a key that the stand-in does not cover
or that has no value. Nothing is silently ignored.
"""
