/**
 * Mutants that the type checker refuses never reach a test. Stryker's own checker needs an interface that TypeScript 7 does
 * not have; `tsc` takes a second for each mutant, and only those that no test noticed are asked about.
 */
import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import type { Mutant } from './run-mutants.ts'

/** What src/ is made of for the type checker. */
const COPIED = ['package.json', 'tsconfig.json', 'src', 'migrations']

/** The mutants with the outcome `types` where the type checker refuses them; works in a copy in `folder`. */
export function checkTypes(file: string, mutants: readonly Mutant[], folder: string): Mutant[] {
  const isOpen = ({ outcome }: Mutant) => outcome === 'survived' || outcome === 'not reached'
  if (!existsSync('tsconfig.json') || !mutants.some(isOpen)) return [...mutants]
  copyProject(folder)
  const original = readFileSync(file, 'utf8')
  if (!compiles(folder)) throw new Error('the project has type errors: npm run typecheck')
  return mutants.map((mutant) => {
    if (!isOpen(mutant)) return mutant
    const [start, end] = mutant.range
    writeFileSync(
      path.join(folder, file),
      original.slice(0, start) + mutant.replacement + original.slice(end),
    )
    return compiles(folder) ? mutant : { ...mutant, outcome: 'types' }
  })
}

function copyProject(folder: string): void {
  mkdirSync(folder, { recursive: true })
  for (const name of COPIED) if (existsSync(name)) cpSync(name, path.join(folder, name), { recursive: true })
  const modules = path.join(folder, 'node_modules')
  if (!existsSync(modules)) symlinkSync(path.resolve('node_modules'), modules)
}

function compiles(folder: string): boolean {
  const tsc = path.resolve('node_modules/.bin/tsc')
  const { status, error } = spawnSync(tsc, [
    '-p',
    folder,
    '--incremental',
    'false',
    '--tsBuildInfoFile',
    'null',
  ])
  if (error) throw error
  return status === 0
}
