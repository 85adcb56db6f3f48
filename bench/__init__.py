"""Measurements; never collected as tests."""
