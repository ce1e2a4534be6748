"""From the first byte to the durable record: admission rules, the spool, the upload's life."""
