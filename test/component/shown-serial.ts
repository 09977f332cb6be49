import { connect } from 'node:tls';

/** The serial number, in lower-case hex, of the certificate that a server on this host shows. */
export function shownSerial(port: number, ca: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = { port, host: '127.0.0.1', ca, servername: 'localhost', ALPNProtocols: ['h2'] };
    const socket = connect(options, () => {
      resolve(socket.getPeerCertificate().serialNumber.toLowerCase());
      socket.destroy();
    });
    socket.once('error', reject);
  });
}
