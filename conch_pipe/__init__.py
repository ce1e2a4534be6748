"""pipe-sftp: files from partners into rows, recordings out to customers, over SFTP."""
