/**
 * Mutants that the type checker refuses never reach a test. Stryker's own checker needs an interface that TypeScript 7 does
 * not have. So `tsc` checks a copy of the file for each mutant that no test noticed, all of them in one run. What a mutant
 * breaks in another file stays unseen.
 */
import { spawn } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import type { Mutant } from './run-mutants.ts'

/** What src/ is made of for the type checker. */
const COPIED = ['package.json', 'tsconfig.json', 'src', 'migrations']
const REFUSED = /\.mutant-(\d+)\.ts\(\d+,\d+\): error /gm

/** The mutants with the outcome `types` where the type checker refuses them; works in a copy in `folder`. */
export async function checkTypes(
  file: string,
  mutants: readonly Mutant[],
  folder: string,
): Promise<Mutant[]> {
  const isOpen = ({ outcome }: Mutant) => outcome === 'survived' || outcome === 'not reached'
  if (!existsSync('tsconfig.json') || !mutants.some(isOpen)) return [...mutants]
  copyProject(folder)
  const original = readFileSync(file, 'utf8')
  const files = mutants.map((mutant, index) => {
    const copy = file.replace(/\.ts$/, `.mutant-${index}.ts`)
    const [start, end] = mutant.range
    if (isOpen(mutant))
      writeFileSync(
        path.join(folder, copy),
        original.slice(0, start) + mutant.replacement + original.slice(end),
      )
    return isOpen(mutant) ? copy : file
  })
  const project = path.join(folder, 'tsconfig.mutants.json')
  writeFileSync(
    project,
    JSON.stringify({ extends: './tsconfig.json', include: [], files: [...new Set(files)] }),
  )
  const refused = new Set([...(await runTsc(project)).matchAll(REFUSED)].map(([, index]) => Number(index)))
  return mutants.map((mutant, index) => (refused.has(index) ? { ...mutant, outcome: 'types' } : mutant))
}

function copyProject(folder: string): void {
  mkdirSync(folder, { recursive: true })
  for (const name of COPIED) if (existsSync(name)) cpSync(name, path.join(folder, name), { recursive: true })
  symlinkSync(path.resolve('node_modules'), path.join(folder, 'node_modules'))
}

/** What it writes; type errors are no failure here. */
function runTsc(project: string): Promise<string> {
  const tsc = path.resolve('node_modules/.bin/tsc')
  const child = spawn(tsc, [
    '-p',
    project,
    '--incremental',
    'false',
    '--tsBuildInfoFile',
    'null',
    '--pretty',
    'false',
  ])
  let output = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text
  })
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', () => {
      if (child.signalCode === null) resolve(output)
      else reject(new Error(`tsc was ended by ${child.signalCode}`))
    })
  })
}
