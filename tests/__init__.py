"""The suite. The name of a test is its promise."""
