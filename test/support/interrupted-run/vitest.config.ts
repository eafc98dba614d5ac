import { defineConfig } from 'vitest/config'

export default defineConfig({
  root: import.meta.dirname,
  test: {
    include: ['hanging.ts'],
    globalSetup: ['../global-setup.ts'],
    setupFiles: ['../setup-file.ts'],
    testTimeout: 600_000,
  },
})
