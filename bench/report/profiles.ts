/** Where the time went: what --profile has written, the functions and packages with the most time of their own first. */
import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { formatTable } from '../../src/cli/table.ts'

type CallFrame = { functionName: string; url: string; lineNumber: number }
type Profile = {
  nodes: { id: number; callFrame: CallFrame }[]
  /** The node that was running, and for how long, in microseconds. */
  samples: number[]
  timeDeltas: number[]
}

const FUNCTIONS_SHOWN = 25
const PACKAGES_SHOWN = 12
const ROOT = `${path.resolve(import.meta.dirname, '../..')}/`
const IDLE = '(idle)'

export function formatProfiles(directory: string): string {
  const files = readdirSync(directory).sort()
  return files
    .flatMap((file) => {
      const text = readFileSync(path.join(directory, file), 'utf8')
      if (file.endsWith('.txt')) return [`${file}\n${text.trimEnd()}`]
      return file.endsWith('.cpuprofile') ? [`${file}\n${formatProfile(JSON.parse(text))}`] : []
    })
    .join('\n\n')
}

function formatProfile(profile: Profile): string {
  return [
    formatShares('package', sumBy(profile, packageOf), PACKAGES_SHOWN),
    formatShares('function', sumBy(profile, functionOf), FUNCTIONS_SHOWN),
  ].join('\n\n')
}

function sumBy({ nodes, samples, timeDeltas }: Profile, nameOf: (frame: CallFrame) => string) {
  const names = new Map(nodes.map(({ id, callFrame }) => [id, nameOf(callFrame)]))
  const sums = new Map<string, number>()
  samples.forEach((sample, index) => {
    const name = names.get(sample) ?? IDLE
    sums.set(name, (sums.get(name) ?? 0) + (timeDeltas[index] ?? 0))
  })
  sums.delete(IDLE)
  return sums
}

function formatShares(title: string, sums: ReadonlyMap<string, number>, shown: number): string {
  const total = [...sums.values()].reduce((sum, us) => sum + us, 0)
  const top = [...sums].sort(([, a], [, b]) => b - a).slice(0, shown)
  return formatTable([
    [title, 'ms', 'share'],
    ...top.map(([name, us]) => [name, (us / 1_000).toFixed(0), `${((us / total) * 100).toFixed(1)} %`]),
  ])
}

function functionOf({ functionName, url, lineNumber }: CallFrame): string {
  const file = fileOf(url)
  const name = functionName || '(anonymous)'
  return file === '' ? name : `${name} ${file}:${lineNumber + 1}`
}

/** Of our own code the folder; what has no file is the engine's. */
function packageOf({ functionName, url }: CallFrame): string {
  const file = fileOf(url)
  if (file === '') return functionName.startsWith('(') ? functionName : '(native)'
  if (file.startsWith('node:')) return 'node'
  const parts = file.split('/')
  const isScoped = file.startsWith('@') || file.startsWith('src/')
  return parts.slice(0, isScoped ? 2 : 1).join('/')
}

function fileOf(url: string): string {
  return url.replace('file://', '').replace(ROOT, '').replace('node_modules/', '')
}
