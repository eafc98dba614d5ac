#!/usr/bin/env node
/**
 * The command `wa-ingest`. Node 24 or later runs the TypeScript in src/ directly; an older Node starts the Node that npm has
 * installed with this project. In both cases Node gets flags that keep its memory small.
 */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import inspector from 'node:inspector'
import { constants } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = path.resolve(fileURLToPath(import.meta.url), '../..')
const MAIN = path.join(ROOT, 'src', 'cli', 'main.ts')
/** The name of the package and of its folder depend on the platform. */
const PINNED_NODE = ['node', 'node-bin']
  .map((name) =>
    path.join(ROOT, 'node_modules', `${name}-${process.platform}-${process.arch}`, 'bin', 'node'),
  )
  .find(existsSync)
const MINIMUM_NODE_MAJOR = 24
/**
 * In MB. Without this limit V8 takes 100 MB for young objects on a large machine; with a smaller one, garbage collection
 * costs measurable time (docs/benchmarks.md).
 */
const NODE_FLAGS = ['--max-semi-space-size=8']
const ENVIRONMENT = {
  // With the cache of an earlier start, Node does not load the TypeScript compiler: a faster start, and 25 MB less.
  NODE_COMPILE_CACHE: path.join(ROOT, 'node_modules', '.cache', 'wa-ingest'),
  ...process.env,
}
const FORWARDED = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR2']

if (!existsSync(path.join(ROOT, 'node_modules')))
  fail(`its dependencies are not installed: run npm ci --ignore-scripts in ${ROOT}`)
else if (Number.parseInt(process.versions.node, 10) >= MINIMUM_NODE_MAJOR) startAgain()
else if (PINNED_NODE) runOn(PINNED_NODE)
else
  fail(
    `Node ${MINIMUM_NODE_MAJOR} or later is needed, and this is ${process.version}: run npm ci --ignore-scripts in ${ROOT}, which brings it`,
  )

/** Replaces this process, if the system can do that. */
function startAgain() {
  try {
    const args = [...process.execArgv, ...NODE_FLAGS, MAIN, ...process.argv.slice(2)]
    process.execve(process.execPath, [process.execPath, ...args], ENVIRONMENT)
  } catch {
    runOn(process.execPath)
  }
}

/** Flags such as --inspect are for the service, so this process gives up the debugger's port. */
function runOn(node) {
  inspector.close()
  const args = [...process.execArgv, ...NODE_FLAGS, MAIN, ...process.argv.slice(2)]
  const child = spawn(node, args, { stdio: 'inherit', env: ENVIRONMENT })
  for (const signal of FORWARDED) process.on(signal, () => child.kill(signal))
  child.on('error', (err) => fail(`${node} does not run: ${err.message}`))
  child.on('exit', (code, signal) => {
    process.exitCode = code ?? 128 + constants.signals[signal]
  })
}

function fail(problem) {
  process.stderr.write(`wa-ingest: ${problem}\n`)
  process.exitCode = 1
}
