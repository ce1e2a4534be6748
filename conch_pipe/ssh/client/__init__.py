"""The client's side: one call connects and gives an SFTP session."""
