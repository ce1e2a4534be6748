"""Twisted Conch made strict: transport, authentication, connection, channels and the SFTP wire protocol.

A leaf: knows Twisted and cryptography, nothing else of pipe-sftp."""
