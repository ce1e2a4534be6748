"""Hostile bytes for every part that reads a peer's bytes, and meters that tell what they cost.

Two kinds. Tables: every message × every state × every mutation (test_messages.py, test_sftp.py), the same in every run.
Search: targets/ are functions of bytes that atheris drives towards code not yet reached; ``python -m tests.fuzz``
runs one for as long as told, test_targets.py each for a bounded number of runs.
"""
