#!/usr/bin/env node
/**
 * The command `wa-ingest`. Node runs the TypeScript in src/ directly from version 24 on; an older one hands over to the
 * Node that npm has installed with this project.
 */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { constants } from 'node:os'
import path from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

const ROOT = path.resolve(fileURLToPath(import.meta.url), '../..')
const MAIN = path.join(ROOT, 'src', 'cli', 'main.ts')
/** Its name depends on the platform. */
const PINNED_NODE = ['node', 'node-bin']
  .map((name) =>
    path.join(ROOT, 'node_modules', `${name}-${process.platform}-${process.arch}`, 'bin', 'node'),
  )
  .find(existsSync)
const MINIMUM_NODE_MAJOR = 24
const FORWARDED = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR2']

if (!existsSync(path.join(ROOT, 'node_modules')))
  fail(`its dependencies are not installed: run npm ci in ${ROOT}`)
else if (Number.parseInt(process.versions.node, 10) >= MINIMUM_NODE_MAJOR) await runHere()
else if (PINNED_NODE) runOn(PINNED_NODE)
else
  fail(
    `Node ${MINIMUM_NODE_MAJOR} or later is needed, and this is ${process.version}: run npm ci in ${ROOT}, which brings it`,
  )

async function runHere() {
  const { runProcess } = await import(pathToFileURL(MAIN).href)
  await runProcess()
}

function runOn(node) {
  const child = spawn(node, [MAIN, ...process.argv.slice(2)], { stdio: 'inherit' })
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
