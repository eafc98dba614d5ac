/**
 * Liveness and readiness.
 *
 * Live: the event loop turns; nothing else is asked, because a restart mends no dependency. Ready: the dependencies
 * answer. Who may not see inside learns only yes or no. One run of the checks serves every probe of the next second, so
 * that probes cannot load what they watch.
 */
import type { Request, RequestHandler } from 'express'
import { createProbe } from './probe.ts'

const CHECK_TIMEOUT_MS = 1_000
const CACHE_MS = 1_000

export type CheckResult = {
  ok: boolean
  /** What is wrong or unsafe, one sentence each with the next step; shown to the admin only. May stand beside `ok`. */
  findings?: readonly string[]
}

export type HealthCheck = {
  /** Of a dependency or a group of settings: `database`, `queue`, `settings`. */
  name: string
  /** A rejection, or no answer within a second, counts as `{ ok: false }`. */
  check: () => Promise<CheckResult>
}

export type CheckReport = { name: string; ok: boolean; findings: readonly string[]; duration_ms: number }

export type HealthDeps = {
  checks: readonly HealthCheck[]
  /** Whether the process can do its work. Default: every check is ok. A receiver, for one, needs only one of its stores. */
  isReady?: (reports: readonly CheckReport[]) => boolean
  /** Who sees the reports. */
  isAdmin: (req: Request) => boolean
  /** A monotonic clock in milliseconds. */
  now?: () => number
}

export type Health = { live: RequestHandler; ready: RequestHandler }

export function createHealth(deps: HealthDeps): Health {
  const { isReady = everyCheckIsOk, now = () => performance.now() } = deps
  const readReports = cachedFor(CACHE_MS, now, runTogether(deps.checks, now))

  return {
    live: (_req, res) => {
      res.set('Cache-Control', 'no-store').json({ status: 'ok' })
    },
    ready: async (req, res) => {
      const isInsider = deps.isAdmin(req)
      const reports = await readReports()
      const ready = isReady(reports)
      const status = ready ? 'ok' : 'unavailable'
      res.status(ready ? 200 : 503).set('Cache-Control', 'no-store')
      res.json(isInsider ? { status, checks: reports } : { status })
    },
  }
}

function everyCheckIsOk(reports: readonly CheckReport[]): boolean {
  return reports.every((report) => report.ok)
}

function runTogether(checks: readonly HealthCheck[], now: () => number): () => Promise<CheckReport[]> {
  const reporters = checks.map((check) => createReporter(check, now))
  return () => Promise.all(reporters.map((report) => report()))
}

function createReporter({ name, check }: HealthCheck, now: () => number): () => Promise<CheckReport> {
  const probe = createProbe({ ask: check, timeoutMs: CHECK_TIMEOUT_MS, what: `The check "${name}"` })
  return async () => {
    const startedAt = now()
    const { ok, findings = [] } = await probe().catch(failedCheck)
    return { name, ok, findings, duration_ms: Math.round(now() - startedAt) }
  }
}

function failedCheck(err: unknown): CheckResult {
  return { ok: false, findings: [err instanceof Error ? err.message : String(err)] }
}

/** Calls that come while one is under way share it; calls within `cacheMs` of its end get the same result. */
function cachedFor<T>(cacheMs: number, now: () => number, read: () => Promise<T>): () => Promise<T> {
  let current: Promise<T> | undefined
  let freshUntil = Number.POSITIVE_INFINITY

  async function readAnew(): Promise<T> {
    try {
      return await read()
    } finally {
      freshUntil = now() + cacheMs
    }
  }

  return () => {
    if (current === undefined || now() >= freshUntil) {
      freshUntil = Number.POSITIVE_INFINITY
      current = readAnew()
    }
    return current
  }
}
