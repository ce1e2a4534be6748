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

async function main() {
  const sftp = new SftpClient();
  try {
    await sftp.connect({
      host: env.SFTP_HOST,
      port: Number(env.SFTP_PORT),
      username: env.SFTP_USERNAME,
      password: env.SFTP_PASSWORD,
    });
    await verbs[verb](sftp);
  } finally {
    await sftp.end();
  }
}

main().catch((err) => {
  console.error('Error:', err.message);
  process.exitCode = 1;
});
