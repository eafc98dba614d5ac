/** Where the time went: the functions with the most self time of each CPU profile that was written. */
import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { formatTable } from '../../src/cli/table.ts'

type CallFrame = { functionName: string; url: string; lineNumber: number }
type Profile = {
  nodes: { id: number; callFrame: CallFrame }[]
  samples: number[]
  timeDeltas: number[]
}

const FUNCTIONS_SHOWN = 25
const ROOT = `${path.resolve(import.meta.dirname, '../..')}/`

export function formatProfiles(directory: string): string {
  const files = readdirSync(directory).filter((name) => name.endsWith('.cpuprofile'))
  return files
    .sort()
    .map((file) => `${file}\n${formatProfile(JSON.parse(readFileSync(path.join(directory, file), 'utf8')))}`)
    .join('\n\n')
}

function formatProfile(profile: Profile): string {
  const frames = new Map(profile.nodes.map(({ id, callFrame }) => [id, nameOf(callFrame)]))
  const selfUs = new Map<string, number>()
  profile.samples.forEach((sample, index) => {
    const name = frames.get(sample) ?? 'unknown'
    selfUs.set(name, (selfUs.get(name) ?? 0) + (profile.timeDeltas[index] ?? 0))
  })
  selfUs.delete('(idle)')
  const total = [...selfUs.values()].reduce((sum, us) => sum + us, 0)
  const top = [...selfUs].sort(([, a], [, b]) => b - a).slice(0, FUNCTIONS_SHOWN)
  return formatTable([
    ['function', 'self ms', 'share'],
    ...top.map(([name, us]) => [name, (us / 1_000).toFixed(0), `${((us / total) * 100).toFixed(1)} %`]),
  ])
}

function nameOf({ functionName, url, lineNumber }: CallFrame): string {
  const file = url.replace('file://', '').replace(ROOT, '').replace('node_modules/', '')
  const name = functionName || '(anonymous)'
  return file === '' ? name : `${name} ${file}:${lineNumber + 1}`
}
