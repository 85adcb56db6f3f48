"""Calls to the webhooks of actions and event triggers."""
