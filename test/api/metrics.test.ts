import { readFileSync } from 'node:fs'
import express, { Router } from 'express'
import { describe, expect, test } from 'vitest'
import { type CountedQueue, createMetrics, type Metrics } from '../../src/api/metrics.ts'
import { type HttpResponse, send, serve } from '../support/http.ts'

async function scrape(metrics: Metrics): Promise<HttpResponse> {
  const app = express()
  app.get('/metrics', metrics.serve)
  return send(`${await serve(app)}/metrics`)
}

/** The samples of one metric, without its comment lines. */
function samplesOf(text: string, name: string): string[] {
  return text.split('\n').filter((line) => line.startsWith(name))
}

describe('GET /metrics', () => {
  test('answers in the format of Prometheus, with figures of the process', async () => {
    const response = await scrape(createMetrics())

    expect(response.status).toBe(200)
    expect(response.headers['content-type']).toMatch('text/plain; version=0.0.4')
    expect(response.text).toMatch(/^process_resident_memory_bytes \d+/m)
    expect(response.text).toMatch(/^nodejs_eventloop_lag_p99_seconds /m)
  })

  test('counts webhooks, events, outcomes and the direct path', async () => {
    const metrics = createMetrics()

    metrics.countWebhook('meta', 'queued')
    metrics.countWebhook('twilio', 'forged')
    metrics.countEvents('meta', 'message')
    metrics.countEvents('meta', 'status', 3)
    metrics.countOutcome('stored')
    metrics.countOutcome('duplicate', 2)
    metrics.countDirectPath(5)
    metrics.setCircuitOpen('queue', true)
    metrics.setUnsafeSettings(2)
    const { text } = await scrape(metrics)

    for (const sample of [
      'wa_ingest_webhooks_total{provider="meta",result="queued"} 1',
      'wa_ingest_webhooks_total{provider="twilio",result="forged"} 1',
      'wa_ingest_events_received_total{provider="meta",kind="message"} 1',
      'wa_ingest_events_received_total{provider="meta",kind="status"} 3',
      'wa_ingest_outcomes_total{outcome="stored"} 1',
      'wa_ingest_outcomes_total{outcome="duplicate"} 2',
      'wa_ingest_direct_path_total 5',
      'wa_ingest_circuit_open{circuit="queue"} 1',
      'wa_ingest_unsafe_settings 2',
    ])
      expect(text).toContain(`${sample}\n`)
  })

  test('serves the metrics that docs/metrics.md describes, and no other', async () => {
    const { text } = await scrape(createMetrics())

    const served = [...text.matchAll(/^# TYPE (wa_ingest_\w+) /gm)].map(([, name]) => name)
    const described = [...readFileSync('docs/metrics.md', 'utf8').matchAll(/^\| `(\w+)` \|/gm)].map(
      ([, name]) => name,
    )
    expect(served.sort()).toEqual(described.sort())
  })

  test('measures acknowledgements and batches', async () => {
    const metrics = createMetrics()

    metrics.observeAck(0.004)
    metrics.observeBatch({ size: 40, seconds: 0.02 })
    const { text } = await scrape(metrics)

    expect(text).toContain('wa_ingest_ack_seconds_bucket{le="0.005"} 1\n')
    expect(text).toContain('wa_ingest_ack_seconds_bucket{le="0.0025"} 0\n')
    expect(text).toContain('wa_ingest_batch_size_sum 40\n')
    expect(text).toContain('wa_ingest_batch_seconds_count 1\n')
  })

  test('names requests by their route, never by their path', async () => {
    const metrics = createMetrics()
    const router = Router()
    router.get('/:id/messages', (_req, res) => void res.send('ok'))
    const app = express()
    app.use(metrics.observeHttp)
    app.use('/api/conversations', router)
    const url = await serve(app)

    await send(`${url}/api/conversations/15550001234/messages`)
    await send(`${url}/wp-login.php`)
    const { text } = await scrape(metrics)

    const counts = samplesOf(text, 'wa_ingest_http_request_seconds_count')
    expect(counts.sort()).toEqual([
      'wa_ingest_http_request_seconds_count{method="GET",route="/api/conversations/:id/messages",status="200"} 1',
      'wa_ingest_http_request_seconds_count{method="GET",route="other",status="404"} 1',
    ])
  })

  test('counts a client that left before the answer as 499', async () => {
    const metrics = createMetrics()
    const app = express()
    app.use(metrics.observeHttp)
    app.get('/slow', (req) => void req.socket.destroy())
    const url = await serve(app)

    await expect(send(`${url}/slow`)).rejects.toThrow('socket hang up')
    const { text } = await scrape(metrics)

    expect(text).toContain(
      'wa_ingest_http_request_seconds_count{method="GET",route="/slow",status="499"} 1\n',
    )
  })

  test('reports the jobs of each queue, and one that hangs as down within seconds', async () => {
    let hangs = false
    const inbound: CountedQueue = {
      name: 'inbound',
      getJobCounts: () => (hangs ? new Promise(() => {}) : Promise.resolve({ waiting: 7, failed: 1 })),
    }
    const media: CountedQueue = { name: 'media', getJobCounts: async () => ({ waiting: 2 }) }
    const metrics = createMetrics()
    metrics.watchQueues([inbound, media])

    const before = samplesOf((await scrape(metrics)).text, 'wa_ingest_queue')
    hangs = true
    const startedAt = performance.now()
    const after = samplesOf((await scrape(metrics)).text, 'wa_ingest_queue')

    expect(performance.now() - startedAt).toBeLessThan(5_000)
    expect(before).toEqual([
      'wa_ingest_queue_up{queue="inbound"} 1',
      'wa_ingest_queue_up{queue="media"} 1',
      'wa_ingest_queue_jobs{queue="inbound",state="waiting"} 7',
      'wa_ingest_queue_jobs{queue="inbound",state="failed"} 1',
      'wa_ingest_queue_jobs{queue="media",state="waiting"} 2',
    ])
    expect(after).toEqual([
      'wa_ingest_queue_up{queue="inbound"} 0',
      'wa_ingest_queue_up{queue="media"} 1',
      'wa_ingest_queue_jobs{queue="media",state="waiting"} 2',
    ])
  })
})
