"""Servers we talk to: what may be said of them, how to connect, and how files are carried there."""
