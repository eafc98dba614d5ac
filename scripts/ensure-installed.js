/**
 * Runs `npm ci` when node_modules is missing or older than package-lock.json, so that `npm start`, `npm test` and
 * `npm run check` work on a fresh clone and after a pull. Plain JavaScript without dependencies for Node 20: it runs
 * before anything is installed. `--dev` asks for the development dependencies as well, whatever NODE_ENV says.
 */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

const ROOT = path.resolve(fileURLToPath(import.meta.url), '../..')
const BIN = path.join(ROOT, 'node_modules', '.bin')
const MINIMUM_NODE_MAJOR = 24
/** Node for this platform; the name depends on the platform. */
const NODE_PACKAGES = ['node', 'node-bin'].map((name) => `${name}-${process.platform}-${process.arch}`)
const WAIT_INTERVAL_MS = 200

const withDev = process.argv.includes('--dev')

try {
  await ensureInstalled()
} catch (err) {
  process.stderr.write(`wa-ingest: ${err instanceof Error ? err.message : err}\n`)
  process.exitCode = 1
}

async function ensureInstalled() {
  if (!isInstalled()) await withLock(installUnlessDone)
  ensureNode()
}

/** Another start may have installed while this one waited for the lock. */
function installUnlessDone() {
  if (isInstalled()) return
  const startedAt = Date.now()
  process.stderr.write(`wa-ingest: ${describeReason()}, running npm ci (once; about a minute)\n`)
  const { status, signal, error } = runNpmCi()
  if (status !== 0)
    throw new Error(
      `npm ci failed (${error?.message ?? signal ?? `exit code ${status}`}). It needs the npm registry: check the network and proxy settings, then run the same command again`,
    )
  if (!isInstalled())
    throw new Error(
      'npm ci left dependencies out (see npm config get omit): run npm ci --ignore-scripts --include=dev --include=optional',
    )
  process.stderr.write(`wa-ingest: installed in ${Math.round((Date.now() - startedAt) / 1000)} s\n`)
}

function describeReason() {
  return existsSync(path.join(ROOT, 'node_modules'))
    ? 'the dependencies do not match package-lock.json'
    : 'the dependencies are not installed yet'
}

/**
 * npm keeps a copy of the lock of what it installed, written when it is done: an interrupted install has none. Optional
 * packages of other platforms are not in it, and with NODE_ENV=production no development dependencies.
 */
function isInstalled() {
  const wanted = readPackages(path.join(ROOT, 'package-lock.json'))
  const installed = readPackages(path.join(ROOT, 'node_modules', '.package-lock.json'))
  if (!wanted) throw new Error('package-lock.json is missing or damaged: git checkout package-lock.json')
  if (!installed) return false
  return Object.entries(wanted).every(([name, entry]) => {
    if (name === '' || entry.link) return true
    const found = installed[name]
    if (!found) return (entry.dev && !withDev) || (entry.optional && !isNodeForThisPlatform(name))
    return found.version === entry.version && found.integrity === entry.integrity
  })
}

function readPackages(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8')).packages
  } catch {
    return undefined
  }
}

/** npm forgives an optional package that could not be fetched; where Node is older, this one is needed. */
function isNodeForThisPlatform(name) {
  return NODE_PACKAGES.includes(name.replace('node_modules/', '')) && !isNodeNewEnough()
}

function runNpmCi() {
  // No package runs code of its own here: docs/decisions/0008-install-scripts.md.
  const args = ['ci', '--ignore-scripts', '--loglevel=error', '--no-audit', '--no-fund']
  if (withDev) args.push('--include=dev')
  const [command, ...prefix] = findNpm()
  return spawnSync(command, [...prefix, ...args], {
    cwd: ROOT,
    // npm ci removes node_modules first: nothing in it may be needed to run npm.
    env: { ...process.env, PATH: pathWithoutBin() },
    // Errors, and on a terminal the progress; not the summary.
    stdio: ['ignore', 'ignore', 'inherit'],
  })
}

/** The npm that runs us, on the Node that runs it; else the one on PATH. */
function findNpm() {
  const { npm_execpath: npm, npm_node_execpath: node } = process.env
  if (npm && node && path.basename(npm) === 'npm-cli.js' && existsSync(node)) return [node, npm]
  return ['npm']
}

function pathWithoutBin() {
  const directories = (process.env.PATH ?? '').split(path.delimiter)
  return directories.filter((directory) => path.resolve(directory) !== BIN).join(path.delimiter)
}

/**
 * npm scripts find node_modules/.bin/node before any other Node. npm 10 does not make that link, because it removes the
 * one of same name with the packages of other platforms; and a Node that cannot run here (musl, old glibc) must not be found.
 */
function ensureNode() {
  const link = path.join(BIN, 'node')
  const runnable = NODE_PACKAGES.find(canRun)
  if (!runnable) rmSync(link, { force: true })
  else if (!existsSync(link)) symlinkSync(path.join('..', runnable, 'bin', 'node'), link)
  if (runnable || isNodeNewEnough()) return
  throw new Error(
    `Node ${MINIMUM_NODE_MAJOR} or later is needed: this is ${process.version}, and npm has none that runs on this machine (${process.platform} ${process.arch}). Install it from https://nodejs.org`,
  )
}

function canRun(nodePackage) {
  const node = path.join(ROOT, 'node_modules', nodePackage, 'bin', 'node')
  if (!existsSync(node)) return false
  return realpathSync(node) === process.execPath || spawnSync(node, ['--version']).status === 0
}

function isNodeNewEnough() {
  return Number.parseInt(process.versions.node, 10) >= MINIMUM_NODE_MAJOR
}

/** Two at once would remove each other's files. The lock is outside of node_modules, which npm ci removes. */
async function withLock(run) {
  const name = createHash('sha256').update(ROOT).digest('hex').slice(0, 16)
  const file = path.join(tmpdir(), `wa-ingest-install-${name}.lock`)
  for (let isFirst = true; !takeLock(file); isFirst = false) {
    if (isFirst) process.stderr.write('wa-ingest: waiting for another npm ci in this directory\n')
    await delay(WAIT_INTERVAL_MS)
  }
  try {
    run()
  } finally {
    rmSync(file, { force: true })
  }
}

function takeLock(file) {
  try {
    writeFileSync(file, String(process.pid), { flag: 'wx' })
    return true
  } catch (err) {
    if (err.code !== 'EEXIST') throw err
    if (!isHeld(file)) rmSync(file, { force: true })
    return false
  }
}

/** A holder that was killed has left its lock. */
function isHeld(file) {
  try {
    const pid = Number(readFileSync(file, 'utf8'))
    // Just made, and not yet written.
    if (!pid) return true
    process.kill(pid, 0)
    return true
  } catch (err) {
    return err.code === 'EPERM'
  }
}
