/**
 * Fails when a package that production runs has a known vulnerability of severity high or critical. Asks the registry
 * (`npm audit`); where that is out of reach, or keeps no advisories, it says so and passes: whether a check is green must
 * not depend on somebody else's server. Plain JavaScript, no dependencies.
 */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import path from 'node:path'
import { pathToFileURL } from 'node:url'

const TIMEOUT_MS = 30_000
const SERIOUS = ['high', 'critical']

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const { isSafe, lines } = judge(runAudit())
  process.stdout.write(`${lines.join('\n')}\n`)
  process.exitCode = isSafe ? 0 : 1
}

/** The report of npm, in JSON; an answer that is none counts as no answer. */
function runAudit() {
  const [command, ...prefix] = findNpm()
  const args = ['audit', '--omit=dev', '--json', '--fetch-retries=0', `--fetch-timeout=${TIMEOUT_MS / 2}`]
  const { stdout } = spawnSync(command, [...prefix, ...args], {
    encoding: 'utf8',
    timeout: TIMEOUT_MS,
    maxBuffer: 64 * 1024 * 1024,
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  try {
    return JSON.parse(stdout)
  } catch {
    return undefined
  }
}

/** What a report of `npm audit --json` means: `vulnerabilities` by package, or an error and none of them. */
function judge(report) {
  const found = report?.vulnerabilities
  if (typeof found !== 'object' || found === null)
    return { isSafe: true, lines: [`Not audited: the registry gave no advisories${reasonOf(report)}`] }
  const serious = Object.values(found).filter(({ severity }) => SERIOUS.includes(severity))
  if (serious.length === 0)
    return {
      isSafe: true,
      lines: [`No known vulnerability of severity ${SERIOUS.join(' or ')} in production`],
    }
  return { isSafe: false, lines: serious.map(describe) }
}

function describe({ name, severity, range, via }) {
  const titles = via.map((cause) =>
    typeof cause === 'string' ? `through ${cause}` : `${cause.title} ${cause.url}`,
  )
  return `${severity}: ${name} ${range}: ${titles.join('; ')}`
}

function reasonOf(report) {
  const reason = report?.error?.summary || report?.message
  return reason ? ` (${String(reason).replace(/https?:\/\/\S+/g, 'its address')})` : ''
}

/** The npm that runs us, on the Node that runs it; else the one on PATH. */
function findNpm() {
  const { npm_execpath: npm, npm_node_execpath: node } = process.env
  if (npm && node && path.basename(npm) === 'npm-cli.js' && existsSync(node)) return [node, npm]
  return ['npm']
}
