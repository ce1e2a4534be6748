"""Records and queue in one SQL database."""
