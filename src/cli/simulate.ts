import type { Command } from './command.ts'

export const command: Command = {
  name: 'simulate',
  summary: 'send signed webhooks to a running service, then count what was stored',
  usage: 'x',
  options: {},
  run: async () => 0,
}
