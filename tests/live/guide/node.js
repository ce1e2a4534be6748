const SftpClient = require('ssh2-sftp-client');
const config = {
host: 'sftp.piing.ai',
port: 2222,
username: 'your_client_id',
password: 'your_client_secret',
};
async function uploadFile(localPath, schemaName) {
const sftp = new SftpClient();
try {
await sftp.connect(config);
// List available schemas
const schemas = await sftp.list('/');
console.log('Available schemas:', schemas.map(s => s.name));
// Upload file
const remotePath = `/${schemaName}/${localPath.split('/').pop()}`;
await sftp.put(localPath, remotePath);
console.log(`Uploaded to ${remotePath}`);
} finally {
await sftp.end();
}
}
uploadFile('./transactions.csv', 'orgTransactions')
.then(() => console.log('Done'))
.catch(err => console.error('Error:', err.message));
