"""Raw copies of uploads under keys of our own."""
