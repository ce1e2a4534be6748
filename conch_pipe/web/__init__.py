"""The HTTP door: the Upload API on the same intake, catalog and login as SFTP."""
