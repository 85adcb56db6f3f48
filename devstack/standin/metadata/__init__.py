"""Metadata read from a folder, and told again."""
