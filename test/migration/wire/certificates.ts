import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Files of a certificate authority and of certificates that it signed, made anew for each test run. */
export interface Authority {
  readonly folder: string;
  readonly caFile: string;
  /** Makes a certificate; `name` is also the name of its files. */
  issue(name: string, subjectAltName: string): { readonly certFile: string; readonly keyFile: string };
  /** Revokes one and gives the list of those revoked. */
  revoke(name: string): string;
  remove(): void;
}

export function makeAuthority(): Authority {
  const folder = mkdtempSync(join(tmpdir(), 'ckpt-ca-'));
  const file = (name: string) => join(folder, name);
  const openssl = (...parameters: string[]) =>
    execFileSync('openssl', parameters, { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] });
  const newKey = (name: string) =>
    openssl('genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256', '-out', name);
  writeFileSync(
    file('ca.cnf'),
    '[ca]\ndefault_ca=it\n[it]\ndatabase=index.txt\ndefault_md=sha256\ndefault_crl_days=2\n[req]\ndistinguished_name=dn\n[dn]\n',
  );
  writeFileSync(file('index.txt'), '');
  newKey('ca.key');
  const subject = ['-config', 'ca.cnf', '-days', '2', '-sha256'];
  openssl(
    'req',
    '-x509',
    '-new',
    '-key',
    'ca.key',
    '-out',
    'ca.pem',
    '-subj',
    '/CN=ckpt test',
    ...subject,
    '-addext',
    'basicConstraints=critical,CA:TRUE',
  );
  return {
    folder,
    caFile: file('ca.pem'),
    issue(name, subjectAltName) {
      newKey(`${name}.key`);
      openssl(
        'req',
        '-x509',
        '-new',
        '-key',
        `${name}.key`,
        '-out',
        `${name}.pem`,
        '-CA',
        'ca.pem',
        '-CAkey',
        'ca.key',
        '-subj',
        `/CN=${name}`,
        ...subject,
        '-addext',
        `subjectAltName=${subjectAltName}`,
        '-addext',
        'basicConstraints=critical,CA:FALSE',
      );
      return { certFile: file(`${name}.pem`), keyFile: file(`${name}.key`) };
    },
    revoke(name) {
      const ca = ['ca', '-config', 'ca.cnf', '-keyfile', 'ca.key', '-cert', 'ca.pem'];
      openssl(...ca, '-revoke', `${name}.pem`);
      openssl(...ca, '-gencrl', '-out', 'crl.pem');
      return file('crl.pem');
    },
    remove: () => rmSync(folder, { recursive: true }),
  };
}
