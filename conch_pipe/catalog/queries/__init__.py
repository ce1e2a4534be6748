"""What is asked of the database and told to it: functions of a connection, several of which may make a transaction.

Who there is: organisations, credentials, people, tokens. What came in: uploads, keys. What goes out: environments,
remotes, recordings, pushes, webhooks. The queue: jobs, claims. What moves together: ingest, delivery, telling. What is
counted: figures.
"""
