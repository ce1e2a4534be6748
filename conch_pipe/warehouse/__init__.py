"""Loaders into the analytics database."""
