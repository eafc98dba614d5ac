#!/usr/bin/env node
/**
 * The command `wa-ingest`. Node runs the TypeScript in src/ directly from version 24 on; an older one hands over to the
 * Node that npm has installed with this project. Either way Node is started with what keeps its memory small.
 */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { constants } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = path.resolve(fileURLToPath(import.meta.url), '../..')
const MAIN = path.join(ROOT, 'src', 'cli', 'main.ts')
/** Its name depends on the platform. */
const PINNED_NODE = ['node', 'node-bin']
  .map((name) =>
    path.join(ROOT, 'node_modules', `${name}-${process.platform}-${process.arch}`, 'bin', 'node'),
  )
  .find(existsSync)
const MINIMUM_NODE_MAJOR = 24
/**
 * On a large machine V8 takes 100 MB for young objects alone. In MB; smaller, and it collects garbage so often that it
 * shows (docs/benchmarks.md).
 */
const NODE_FLAGS = ['--max-semi-space-size=8']
const ENVIRONMENT = {
  // With what was compiled at an earlier start, the compiler for TypeScript is not loaded: a faster start, and 25 MB.
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

/** In the place of this process, where the system can do that. */
function startAgain() {
  try {
    const args = [...process.execArgv, ...NODE_FLAGS, MAIN, ...process.argv.slice(2)]
    process.execve(process.execPath, [process.execPath, ...args], ENVIRONMENT)
  } catch {
    runOn(process.execPath)
  }
}

function runOn(node) {
  const args = [...NODE_FLAGS, MAIN, ...process.argv.slice(2)]
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
