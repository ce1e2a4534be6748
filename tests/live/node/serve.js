// An SFTP server of ssh2's over a folder; prints its port. Arguments: folder, user, password, host key, bytes after
// which it asks for new keys (0: never).
const fs = require('fs');
const path = require('path');
const { Server, utils } = require('ssh2');

const { OPEN_MODE, STATUS_CODE } = utils.sftp;
const [folder, user, password, key, rekeyBytes] = process.argv.slice(2);

function serve(sftp) {
  const answer = (id) => (error) => sftp.status(id, error ? STATUS_CODE.FAILURE : STATUS_CODE.OK);
  sftp.on('OPEN', (id, name, flags) => {
    const mode = flags & OPEN_MODE.WRITE ? 'w+' : 'r';
    fs.open(path.join(folder, name), mode, (error, fd) => {
      if (error) return sftp.status(id, STATUS_CODE.NO_SUCH_FILE);
      const handle = Buffer.alloc(4);
      handle.writeUInt32BE(fd);
      return sftp.handle(id, handle);
    });
  });
  sftp.on('WRITE', (id, handle, offset, data) => {
    fs.write(handle.readUInt32BE(), data, 0, data.length, offset, answer(id));
  });
  sftp.on('READ', (id, handle, offset, length) => {
    fs.read(handle.readUInt32BE(), Buffer.alloc(length), 0, length, offset, (error, count, buffer) => {
      if (error) return sftp.status(id, STATUS_CODE.FAILURE);
      if (!count) return sftp.status(id, STATUS_CODE.EOF);
      return sftp.data(id, buffer.subarray(0, count));
    });
  });
  sftp.on('CLOSE', (id, handle) => fs.close(handle.readUInt32BE(), answer(id)));
}

function rekeyEvery(client, socket, bytes) {
  let moved = 0;
  const timer = setInterval(() => {
    if (socket.bytesWritten + socket.bytesRead - moved >= bytes) {
      moved = socket.bytesWritten + socket.bytesRead;
      client.rekey();
    }
  }, 1);
  client.once('close', () => clearInterval(timer));
}

const server = new Server({ hostKeys: [fs.readFileSync(key)] }, (client) => {
  client.on('error', () => {});
  client.on('authentication', (ctx) => {
    if (ctx.method === 'password' && ctx.username === user && ctx.password === password) ctx.accept();
    else ctx.reject(['password']);
  });
  client.on('ready', () => {
    if (Number(rekeyBytes)) rekeyEvery(client, client._sock, Number(rekeyBytes));
    client.on('session', (accept) => {
      accept().on('sftp', (acceptSftp) => serve(acceptSftp()));
    });
  });
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
