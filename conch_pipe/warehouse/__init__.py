"""Loaders into the analytics database.

Exports nothing: the loader's worker imports this, and should not load Twisted with it.
"""
