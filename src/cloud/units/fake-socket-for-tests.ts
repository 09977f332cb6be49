import { EventEmitter } from 'node:events';

/** The socket of a unit, as far as a session sees it. */
export class FakeSocket extends EventEmitter {
  readonly OPEN = 1;
  readyState = this.OPEN;
  bufferedAmount = 0;
  isPaused = false;
  readonly sent: Buffer[] = [];
  closedWith: number | undefined;

  pause(): void {
    this.isPaused = true;
  }

  resume(): void {
    this.isPaused = false;
  }

  send(frame: Buffer): void {
    this.sent.push(frame);
  }

  close(code: number): void {
    this.closedWith = code;
    this.terminate();
  }

  terminate(): void {
    this.readyState = 3;
    this.emit('close', 1006);
  }
}
