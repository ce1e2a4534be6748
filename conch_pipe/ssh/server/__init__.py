"""The server's side: who may come in, the login, the channels."""
