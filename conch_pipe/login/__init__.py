"""Who may come in, by client_id and client_secret: one core for all doors, so that they count failures together."""
