"""Several processes on one port: the parent holds the socket, its door processes take the connections."""
