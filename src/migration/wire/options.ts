import type { Channel, ChannelEvent } from './channel.ts';

export const DEFAULT_GIVE_UP_MICROSECONDS = 30_000_000;
export const DEFAULT_SILENCE_MICROSECONDS = 15_000_000;
export const DEFAULT_CONNECT_MICROSECONDS = 10_000_000;
export const DEFAULT_WINDOW_BYTES = 16 * 1024 * 1024;

/** 24 days; Node takes more for a millisecond. */
export const LONGEST_TIMER_MILLISECONDS = 2 ** 31 - 1;

/** `ADDR:PORT`, parsed; an IPv6 address without its brackets. */
export interface PeerAddress {
  readonly host: string;
  /** 0 to 65535; 0 lets the kernel choose when listening. */
  readonly port: number;
}

/** How the two ends prove to each other who they are, and whether others can read along. */
export type Security =
  /** TLS 1.2 or newer; both ends show a certificate of the CA. */
  | {
      readonly kind: 'tls';
      /** PEM. */
      readonly caCertificates: string;
      /** PEM; revoked certificates of either end are refused. */
      readonly revocations: string | undefined;
      readonly certificate: string;
      readonly key: string;
      /** Whether the name or address that was connected to must be in the listener's certificate. */
      readonly verifyName: boolean;
    }
  /** TLS 1.3 with a pre-shared key of at least 32 bytes: proves both ends and encrypts. */
  | { readonly kind: 'shared-key'; readonly key: Uint8Array }
  /** On a loopback address: processes of this user and of root only, which the kernel tells; not encrypted. */
  | { readonly kind: 'same-user' }
  /** Anybody who reaches the port may connect, anybody on the way may read and change. */
  | { readonly kind: 'insecure' };

export interface ChannelOptions {
  readonly security: Security;
  /** How long a channel that has lost all connections waits for one to be resumed; 30 s by default. */
  readonly giveUpMicroseconds?: number;
  /** Silence after which a connection counts as lost; 15 s by default. */
  readonly silenceMicroseconds?: number;
  /** Bytes that may be under way or unread in each direction, which bounds the memory of both ends; 16 MiB by default. */
  readonly windowBytes?: number;
}

export interface ConnectOptions extends ChannelOptions {
  /** TCP connections to spread the stream over: 1 to 16, 1 by default. */
  readonly connections?: number;
  /** How long the first connection may take; 10 s by default. */
  readonly connectMicroseconds?: number;
  /** Gives up connecting, or aborts the channel. */
  readonly signal?: AbortSignal;
  readonly onEvent?: (event: ChannelEvent) => void;
}

export interface ListenOptions extends ChannelOptions {
  /** Channels at a time; 4 by default. */
  readonly channels?: number;
  /** Told of connections that were refused and why, and of what happens below each channel. */
  readonly onEvent?: (event: ChannelEvent | RefusedConnection) => void;
}

/** Somebody connected who was not let in. */
export interface RefusedConnection {
  readonly kind: 'refused';
  readonly peer: string;
  readonly reason: string;
}

export interface ChannelListener {
  /** Where it listens; the port that the kernel chose if 0 was asked for. */
  readonly address: PeerAddress;
  /** Stops listening; channels that exist go on, but cannot be resumed. */
  close(): Promise<void>;
}

export type ChannelHandler = (channel: Channel) => void;
