"""SFTP version 3, both sides; knows no SSH."""
