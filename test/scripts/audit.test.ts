/** The real npm in a project of the test's own, against a registry of the test's own. */
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { expect, test } from 'vitest'
import { serve } from '../support/http.ts'
import { PROJECT, startProcess } from '../support/processes.ts'
import { createTempDirectory } from '../support/temp-directory.ts'

const NAMES = ['in-production', 'for-tests']

test.each([
  [
    'a high vulnerability in production fails',
    { 'in-production': 'high' },
    1,
    /^high: in-production .*: Bad news/,
  ],
  ['a moderate one passes', { 'in-production': 'moderate' }, 0, /^No known vulnerability/],
  ['a high one in a development dependency passes', { 'for-tests': 'high' }, 0, /^No known vulnerability/],
])('%s', async (_what, severities: Record<string, string>, code, said) => {
  const script = audit(await startRegistry(severities))

  expect((await script.ended).code).toBe(code)
  expect(script.stdout).toMatch(said)
})

test.each([
  ['keeps no advisories', () => serve((_req, res) => res.writeHead(405).end())],
  ['answers something else', () => serve((_req, res) => res.writeHead(200).end('<html>'))],
  ['cannot be reached', async () => 'http://127.0.0.1:1'],
])('a registry that %s passes, and the output says that nothing was audited', async (_what, open) => {
  const script = audit(await open())

  expect((await script.ended).code).toBe(0)
  expect(script.stdout).toMatch(/^Not audited: /)
  expect(script.stdout).not.toContain('http')
})

function audit(registry: string) {
  const project = createTempDirectory()
  const entry = { version: '1.0.0', resolved: `${registry}/x.tgz`, integrity: 'sha512-AAAA' }
  const dependencies = { 'in-production': '1.0.0' }
  const devDependencies = { 'for-tests': '1.0.0' }
  const root = { name: 'project', version: '1.0.0', dependencies, devDependencies }
  const packages = {
    '': root,
    'node_modules/in-production': entry,
    'node_modules/for-tests': { ...entry, dev: true },
  }
  writeFileSync(path.join(project, 'package.json'), JSON.stringify(root))
  writeFileSync(
    path.join(project, 'package-lock.json'),
    JSON.stringify({ name: 'project', version: '1.0.0', lockfileVersion: 3, requires: true, packages }),
  )
  return startProcess(process.execPath, [path.join(PROJECT, 'scripts/audit.js')], {
    cwd: project,
    env: { npm_config_registry: registry, npm_config_cache: path.join(project, 'cache') },
  })
}

/** Answers what `npm audit` asks: the advisories of all packages, then the versions of those that have one. */
function startRegistry(severities: Record<string, string>): Promise<string> {
  return serve((req, res) => {
    const json = (body: unknown) =>
      res.setHeader('content-type', 'application/json').end(JSON.stringify(body))
    if (req.url?.endsWith('/advisories/bulk')) return void json(advisoriesOf(severities))
    const name = NAMES.find((known) => req.url === `/${known}`)
    if (name === undefined) return void res.writeHead(404).end()
    const version = { name, version: '1.0.0', dist: { tarball: 'http://127.0.0.1:1/x.tgz' } }
    json({ name, 'dist-tags': { latest: '1.0.0' }, versions: { '1.0.0': version } })
  })
}

function advisoriesOf(severities: Record<string, string>) {
  return Object.fromEntries(
    Object.entries(severities).map(([name, severity], id) => [
      name,
      [
        {
          id,
          url: `https://example.com/${id}`,
          title: 'Bad news',
          severity,
          vulnerable_versions: '<2.0.0',
          cwe: [],
          cvss: { score: 0, vectorString: null },
        },
      ],
    ]),
  )
}
