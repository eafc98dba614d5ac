/** Renders docs/configuration.md, and the same table for the README, from the variables, so that they cannot differ. */
import { PROVIDERS } from '../providers/index.ts'
import type { ProviderDefinition } from '../providers/provider.ts'
import { describeVariables } from './variables.ts'

export function renderConfigurationTable(): string {
  const rows = describeVariables().map(({ name, default: value = '', unit = '', meaning, isSecret }) => [
    `\`${name}\``,
    value,
    unit,
    meaning,
    isSecret ? 'yes' : '',
  ])
  const lines = [['Variable', 'Default', 'Unit', 'Meaning', 'Secret'], Array(5).fill('---'), ...rows]
  return lines.map((cells) => `| ${cells.join(' | ')} |`).join('\n')
}

export function renderConfigurationPage(): string {
  return `# Configuration

Everything is set through environment variables, read once at the start. A wrong one stops the start, and all wrong ones
are reported at once, one line each. An empty variable counts as unset; spaces around a value do not count.

${renderConfigurationTable()}

**Secrets.** With \`NODE_ENV=production\`, a \`HOST\` or \`PUBLIC_URL\` that other machines can reach, or a proxy in \`TRUST_PROXY\`,
the secrets must be set:
${PROVIDERS.map(describeNeeds).join(', ')},
one provider at least, and \`ADMIN_PASSWORD\`. Weak ones are refused. Otherwise missing secrets are made at the first start and
kept in \`DATA_DIR/secrets.json\`, readable by their owner alone; every later start and every command finds them there.

**Where things are kept.** Without \`DATABASE_URL\` the messages are in an embedded PostgreSQL in \`DATA_DIR\`; without
\`REDIS_URL\` (or \`REDIS_CLUSTER_NODES\`, \`REDIS_SENTINELS\`) the queue is in PostgreSQL too.

This page is written from \`src/config/variables.ts\`: \`npx vitest run test/config/load-config.test.ts -u\` writes it again.
`
}

function describeNeeds({ label, signingSecret, needed }: ProviderDefinition): string {
  const names = new Set<string>([signingSecret, ...needed.map(([name]) => name)])
  return `${[...names].map((name) => `\`${name}\``).join(' and ')} for ${label}`
}
