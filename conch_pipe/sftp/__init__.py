"""The SFTP door: login, the put-only tree, sessions, limits, the service."""
