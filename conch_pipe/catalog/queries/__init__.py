"""What is asked of the database and told to it: functions of a connection, in one transaction each."""
