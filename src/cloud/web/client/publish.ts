/** Publishing from the browser: an OCI layout in a tar file, whose blobs are uploaded one after the other. */

type Ask = (method: string, path: string, body?: BodyInit) => Promise<unknown>;
type Tell = (text: string, isBad?: boolean) => void;

const BLOCK = 512;
const MAX_HEADERS = 100_000;

interface Entry {
  readonly name: string;
  readonly content: Blob;
}

const textOf = (bytes: Uint8Array): string => {
  const end = bytes.indexOf(0);
  return new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end));
};

/** The files of a tar; contents stay where they are until they are read. Throws for what is no tar. */
async function readTar(file: File): Promise<Entry[]> {
  const entries: Entry[] = [];
  for (let at = 0, count = 0; at + BLOCK <= file.size; count += 1) {
    const header = new Uint8Array(await file.slice(at, at + BLOCK).arrayBuffer());
    if (header.every((byte) => byte === 0)) break;
    const size = Number.parseInt(textOf(header.subarray(124, 136)).trim() || '0', 8);
    if (textOf(header.subarray(257, 262)) !== 'ustar' || !Number.isSafeInteger(size) || count > MAX_HEADERS) {
      throw new Error(`${file.name} is not an uncompressed tar file`);
    }
    const prefix = textOf(header.subarray(345, 500));
    const name = `${prefix === '' ? '' : `${prefix}/`}${textOf(header.subarray(0, 100))}`.replace(/^\.\//, '');
    const type = String.fromCharCode(header[156]!);
    if (type === '0' || type === '\0') entries.push({ name, content: file.slice(at + BLOCK, at + BLOCK + size) });
    at += BLOCK + Math.ceil(size / BLOCK) * BLOCK;
  }
  return entries;
}

interface Layout {
  readonly indexText: string;
  readonly blobs: readonly Entry[];
}

async function readLayout(file: File): Promise<Layout> {
  const entries = await readTar(file);
  const index = entries.find(({ name }) => name === 'index.json');
  if (!index) throw new Error(`${file.name} has no index.json: it is no OCI layout`);
  const indexText = await index.content.text();
  const blobs = entries.filter(({ name }) => name.startsWith('blobs/sha256/'));
  for (const { digest } of (JSON.parse(indexText) as { manifests: { digest: string }[] }).manifests) {
    const manifest = blobs.find(({ name }) => name === `blobs/${digest.replace(':', '/')}`);
    if (!manifest) throw new Error(`${file.name} lacks manifest ${digest}`);
    if (!('aosItemConfig' in (JSON.parse(await manifest.content.text()) as object))) {
      throw new Error(`${file.name} has no item configuration; "aosctl publish" adds one`);
    }
  }
  return { indexText, blobs };
}

async function digestOf(text: string): Promise<string> {
  const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text)));
  return `sha256:${[...hash].map((byte) => byte.toString(16).padStart(2, '0')).join('')}`;
}

export function servePublishing(ask: Ask, tell: Tell): void {
  const drop = document.querySelector<HTMLElement>('#drop')!;
  const form = document.querySelector<HTMLFormElement>('#publish')!;
  const upload = document.querySelector<HTMLProgressElement>('#upload')!;
  const input = drop.querySelector<HTMLInputElement>('input')!;
  let layout: Layout | undefined;

  const take = async (file: File | undefined) => {
    if (!file) return;
    try {
      layout = await readLayout(file);
      form.hidden = false;
      const id = form.elements.namedItem('id') as HTMLInputElement;
      id.value ||= file.name.replace(/\.tar$/, '');
      id.focus();
      tell(`${file.name} has ${layout.blobs.length} blobs. Which item is it?`);
    } catch (error) {
      tell((error as Error).message, true);
    }
  };

  input.addEventListener('change', () => void take(input.files?.[0]));
  for (const kind of ['dragover', 'dragleave', 'drop'] as const) {
    drop.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.toggle('over', kind === 'dragover');
      if (kind === 'drop') void take(event.dataTransfer?.files[0]);
    });
  }

  const publish = async (wanted: Layout, id: string, version: string, type: string) => {
    upload.hidden = false;
    upload.max = wanted.blobs.length + 1;
    upload.value = 0;
    for (const { name, content } of wanted.blobs) {
      await ask('PUT', `/api/blobs/sha256:${name.split('/').at(-1)}`, content);
      upload.value += 1;
    }
    const indexDigest = await digestOf(wanted.indexText);
    await ask('PUT', `/api/blobs/${indexDigest}`, wanted.indexText);
    await ask(
      'PUT',
      `/api/items/${encodeURIComponent(id)}/${encodeURIComponent(version)}`,
      JSON.stringify({ type, indexDigest }),
    );
  };

  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    if (!layout) return;
    const value = (name: string) => (form.elements.namedItem(name) as HTMLInputElement).value;
    try {
      await publish(layout, value('id'), value('version'), value('type'));
      location.assign('/items');
    } catch (error) {
      tell((error as Error).message, true);
    } finally {
      upload.hidden = true;
    }
  });
}
