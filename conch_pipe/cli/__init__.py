"""The operator's command, conch-pipe."""
