#!/usr/bin/env node
const [major, minor] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 15)) {
  process.stderr.write(`ckpt needs Node.js 20.15 or later, this is ${process.version}\n`);
  process.exitCode = 14;
} else {
  const { runFromShell } = await import('../dist/cli/main.js');
  await runFromShell();
}
