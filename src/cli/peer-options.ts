import { type Command, Option } from 'commander';
import { type PeerAddress, parsePeerAddress, type SecurityOptions } from '../migration/index.ts';
import { argument } from './parse.ts';

/** How a command is to talk to the other end of a migration: what `loadSecurity` wants to know. */
export type PeerOptions = SecurityOptions;

/** The options of `migrate`, `rehearse --shadow` and `receive` about certificates and keys; those of TLS as CRIU's. */
export function declarePeerOptions(command: Command): void {
  declareTlsOptions(command);
  command.option('--key-file <file>', 'prove both ends by a shared key of at least 32 bytes, and encrypt');
  declareInsecureOption(command);
}

/** The options of a command whose other end is CRIU: CRIU's own, and the one to do without. */
export function declareCriuPeerOptions(command: Command): void {
  declareTlsOptions(command);
  declareInsecureOption(command);
}

function declareInsecureOption(command: Command): void {
  command.option(
    '--insecure',
    'let anybody connect who reaches the port, and everybody on the way read along',
  );
}

function declareTlsOptions(command: Command): void {
  command
    .option('--tls', 'prove both ends by certificates, and encrypt')
    .option('--tls-cacert <file>', 'with --tls: CA that has signed the certificate of the other end (PEM)')
    .option('--tls-cacrl <file>', 'with --tls: certificates that the CA has revoked')
    .option('--tls-cert <file>', 'with --tls: certificate of this end')
    .option('--tls-key <file>', 'with --tls: private key of this end')
    .option('--tls-no-cn-verify', 'with --tls: the certificate of the other end may be for another name');
}

/** An option that takes ADDR:PORT or [V6]:PORT. */
export function addressOption(flags: string, description: string): Option {
  return new Option(flags, description).argParser(argument<PeerAddress>(parsePeerAddress));
}
