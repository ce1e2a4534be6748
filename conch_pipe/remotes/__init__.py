"""Servers we talk to: recordings are carried there, and an operator tests whether they could be."""
