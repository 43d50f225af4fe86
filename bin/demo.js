#!/usr/bin/env node
const { runDemoFromShell } = await import('../dist/cli/demo.js');
await runDemoFromShell();
