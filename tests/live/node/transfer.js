// put, fastput, get, mkdir or rm with ssh2-sftp-client; says what went wrong and exits with 1.
const SftpClient = require('ssh2-sftp-client');

const env = process.env;
const [verb, ...args] = process.argv.slice(2);
const verbs = {
  put: (sftp) => sftp.put(...args),
  fastput: (sftp) => sftp.fastPut(...args),
  get: (sftp) => sftp.get(...args),
  mkdir: (sftp) => sftp.mkdir(...args),
  rm: (sftp) => sftp.delete(...args),
};

// What the environment says of cipher and MAC; nothing: ssh2's defaults.
function algorithms() {
  const told = {};
  if (env.SFTP_CIPHER) told.cipher = [env.SFTP_CIPHER];
  if (env.SFTP_MAC) told.hmac = [env.SFTP_MAC];
  return told;
}

// ssh2 has no limit of its own, and shows its rekey() for servers only: here it is called after so many bytes sent.
function rekeyEvery(sftp, bytes) {
  const socket = sftp.client._sock;
  let sent = 0;
  const timer = setInterval(() => {
    if (socket.bytesWritten - sent >= bytes) {
      sent = socket.bytesWritten;
      sftp.client._protocol.rekey();
    }
  }, 1);
  sftp.client.once('close', () => clearInterval(timer));
}

async function main() {
  const sftp = new SftpClient();
  try {
    await sftp.connect({
      host: env.SFTP_HOST,
      port: Number(env.SFTP_PORT),
      username: env.SFTP_USERNAME,
      password: env.SFTP_PASSWORD,
      algorithms: algorithms(),
    });
    if (Number(env.SFTP_REKEY_BYTES)) rekeyEvery(sftp, Number(env.SFTP_REKEY_BYTES));
    await verbs[verb](sftp);
  } finally {
    await sftp.end();
  }
}

main().catch((err) => {
  console.error('Error:', err.message);
  process.exitCode = 1;
});
