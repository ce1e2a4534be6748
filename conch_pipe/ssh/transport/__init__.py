"""SSH connections of both sides: packets, ciphers, key exchange."""
