import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: { include: ['test/migration/*.validation.ts'], testTimeout: 3_600_000 },
});
