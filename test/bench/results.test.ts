/** The report of a run, made from its measurements. */
import { describe, expect, test } from 'vitest'
import type { Measurement } from '../../bench/measurement.ts'
import { drawResults } from '../../bench/report/chart.ts'
import { checkLoader } from '../../bench/report/loader-check.ts'
import { summarise } from '../../bench/report/results.ts'
import { formatResults } from '../../bench/report/results-table.ts'
import { formatTargets } from '../../bench/report/targets.ts'

/** 1,000 messages in one second, stored after two. */
function measured(values: Partial<Measurement> = {}): Measurement {
  return {
    contender: 'redis',
    workload: 'single',
    webhooks: 1_000,
    refused: 0,
    firstRefusal: undefined,
    events: 1_000,
    expected: 1_000,
    stored: 1_000,
    doubled: 0,
    acknowledgedMs: 1_000,
    storedMs: 2_000,
    ackP50Ms: 10,
    ackP99Ms: 30,
    ackMaxMs: 50,
    cpu: { receiver: 300, worker: 200, redis: 100, postgres: 100 },
    memory: { receiver: { loadMb: 120, endMb: 110 }, worker: { loadMb: 130, endMb: 100 } },
    loader: { cpuMs: 30, busyShare: 0.1 },
    paced: { perSecond: 500, ackP50Ms: 2, ackP99Ms: 6, refused: 0 },
    ...values,
  }
}

describe('summarise', () => {
  test('gives rates, and the CPU of each part for each message stored', () => {
    const [result] = summarise([measured()])

    expect(result).toMatchObject({
      contender: 'redis',
      workload: 'single',
      webhooks_per_second: 1_000,
      acknowledged_per_second: 1_000,
      stored_per_second: 500,
      cpu_ms_per_message: 0.7,
      postgres_cpu_ms_per_message: 0.1,
      ack_p50_ms: 10,
      ack_p99_ms: 30,
      paced_ack_p99_ms: 6,
    })
  })

  test('takes the median of the rounds, and adds up what went wrong in any of them', () => {
    const rounds = [
      measured({ ackP99Ms: 10 }),
      measured({ ackP99Ms: 900, stored: 998, doubled: 1, refused: 5 }),
      measured({ ackP99Ms: 20 }),
    ]

    expect(summarise(rounds)).toMatchObject([
      { rounds: 3, ack_p99_ms: 20, expected: 3_000, lost: 2, doubled: 1, refused: 5 },
    ])
  })

  test('counts the events of a batch as acknowledged, and a webhook as one', () => {
    const [result] = summarise([measured({ webhooks: 100 })])

    expect(result).toMatchObject({ webhooks_per_second: 100, acknowledged_per_second: 1_000 })
  })

  test('has no figure for what does not exist or cannot be seen', () => {
    const [floor] = summarise([
      measured({
        contender: 'floor',
        cpu: {},
        memory: { receiver: undefined, worker: undefined },
        paced: undefined,
      }),
    ])

    expect(floor).toMatchObject({
      stored_per_second: null,
      cpu_ms_per_message: null,
      worker_cpu_ms_per_message: null,
      worker_mb: null,
      paced_ack_p99_ms: null,
    })
  })
})

describe('the report', () => {
  const results = summarise([
    measured({ contender: 'direct', storedMs: 3_000 }),
    measured(),
    measured({ workload: 'burst', refused: 3 }),
  ])

  test('shows ratios to direct', () => {
    expect(formatResults(results)).toMatch(/^redis +1,000 +500 +1\.50/m)
  })

  test('shows what was not kept', () => {
    expect(formatResults(summarise([measured({ stored: 990 })]))).toContain('10 lost')
    expect(formatResults(results)).toContain('3 refused')
  })

  test('holds only those targets against the results of which both sides were measured', () => {
    const text = formatTargets(results)

    expect(text).toMatch(/redis to direct +≥ 1\.2 +1\.50 +reached/)
    expect(text).toMatch(/CPU per stored message, redis to direct +≤ 0\.9 +1\.00 +missed/)
    expect(text).not.toContain('pg-boss')
  })

  test('warns when the load generator had hardly any time left', () => {
    expect(checkLoader(results)).toContain('was not the limit')
    expect(checkLoader(summarise([measured({ loader: { cpuMs: 900, busyShare: 0.9 } })]))).toMatch(/^WARNING/)
  })

  test('draws a chart with every contender, and nothing from elsewhere', () => {
    const svg = drawResults(results)

    expect(svg).toMatch(/^<svg xmlns="http:\/\/www\.w3\.org\/2000\/svg"/)
    expect(svg.match(/>direct</g)).toHaveLength(2)
    expect(svg).not.toMatch(/NaN|undefined|<script|href=/)
  })
})
