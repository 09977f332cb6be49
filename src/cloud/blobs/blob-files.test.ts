import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { silentLogger } from '../../core/index.ts';
import { blobFilesSuite } from './blob-files-suite-for-tests.ts';
import { DirectoryFiles } from './directory-files.ts';
import { S3Double } from './s3/s3-double-for-tests.ts';
import { S3Files } from './s3/s3-files.ts';

const STORE = { bucket: 'blobs', region: 'eu-north-1' };
const CREDENTIALS = { accessKeyId: 'AKTEST', secretAccessKey: 'a secret/of+the=test' };

blobFilesSuite('blobs in a directory', async (directory) => ({
  files: new DirectoryFiles(directory),
  stop: async () => undefined,
}));

for (const prefix of ['', 'fleets/north/']) {
  blobFilesSuite(`blobs in an S3-compatible store, ${prefix || 'no prefix'}`, async (directory) => {
    const double = await S3Double.start({ ...STORE, ...CREDENTIALS });
    const credentialsFile = join(directory, '..', 'credentials.json');
    await writeFile(credentialsFile, JSON.stringify(CREDENTIALS));
    const files = new S3Files({
      ...{ ...STORE, endpoint: double.endpoint, prefix, credentialsFile, logger: silentLogger },
      now: () => new Date(),
    });
    return {
      files,
      stop: async () => {
        files.stop();
        await double.stop();
      },
    };
  });
}
