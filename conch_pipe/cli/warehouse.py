"""``conch-pipe warehouse``."""
