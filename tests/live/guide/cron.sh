sshpass -p "$PIING_CLIENT_SECRET" sftp -P 2222 -oBatchMode=no \
your_client_id@sftp.piing.ai:/orgTransactions/ <<< "put /path/to/daily-export.csv"
