#!/bin/bash
HOST="sftp.piing.ai"
PORT="2222"
USERNAME="your_client_id"
FILE="./transactions.csv"
SCHEMA="orgTransactions"
# Upload using sftp with password from environment variable
# Requires sshpass: brew install sshpass (macOS) or apt install sshpass (Linux)
sshpass -p "$PIING_CLIENT_SECRET" sftp -P $PORT -oBatchMode=no -oStrictHostKeyChecking=no \
$USERNAME@$HOST <<EOF
cd $SCHEMA
put $FILE
bye
EOF
echo "Upload complete"
