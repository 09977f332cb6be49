/** The byte protocol between proxy and peer: frames, channels, messages, TLS. */
export * from './channel-stream.ts';
export * from './frame.ts';
export * from './link.ts';
export * from './message.ts';
export * from './message-channel.ts';
export * from './multiplexer.ts';
export * from './secure-channel.ts';
