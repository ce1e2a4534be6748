"""The real service, killed and starved: what was acknowledged is there once, the rest whole or not at all."""
