/** Progress of a run: a line for each measurement, and on a terminal the current step. */
import { formatDuration } from '../../src/cli/progress.ts'
import { totalCpu } from '../measure/resources.ts'
import type { Measurement } from '../measurement.ts'
import type { BenchObserver, Step } from '../run-bench.ts'
import { number } from './results-table.ts'

const USUAL_COLUMNS = 80
const CLEAR_LINE = '\r\u001b[K'

export function createScreen(stream: NodeJS.WriteStream): BenchObserver {
  const startedAt = performance.now()
  const isLive = stream.isTTY && process.env.TERM !== 'dumb'
  const write = (line: string) => stream.write(`${isLive ? CLEAR_LINE : ''}${line}\n`)
  return {
    onLog: write,
    onPhase: (step, phase) => {
      const line = `${nameOf(step)}  ${phase}${timeLeft(step, performance.now() - startedAt)}`
      if (isLive) stream.write(`${CLEAR_LINE}${line.slice(0, (stream.columns ?? USUAL_COLUMNS) - 1)}`)
    },
    onMeasured: (step, measurement) => write(`${nameOf(step)}  ${summaryOf(measurement)}`),
    onFailure: (step, problem) => write(`${nameOf(step)}  FAILED: ${problem}`),
  }
}

function nameOf({ number: position, count, round, workload, contender }: Step): string {
  const place = `${String(position).padStart(String(count).length)}/${count}`
  return `${place}  round ${round}  ${workload.name.padEnd(12)}  ${contender.name.padEnd(15)}`
}

function timeLeft({ number: position, count }: Step, elapsedMs: number): string {
  if (position === 1) return ''
  return ` · about ${formatDuration((elapsedMs / (position - 1)) * (count - position + 1))} left`
}

function summaryOf(measurement: Measurement): string {
  const { contender, webhooks, acknowledgedMs, stored, storedMs, cpu, ackP50Ms, ackP99Ms, refused } =
    measurement
  const lost = measurement.expected - stored
  const cpuMs = totalCpu(cpu)
  const parts = [
    `${number((webhooks / acknowledgedMs) * 1_000, 0).padStart(6)} webhooks/s`,
    contender === 'floor' ? '' : `${number((stored / storedMs) * 1_000, 0).padStart(6)} stored/s`,
    cpuMs === undefined ? '' : `${number(cpuMs / Math.max(1, stored), 3)} ms CPU`,
    `ack p50 ${number(ackP50Ms, 1)} p99 ${number(ackP99Ms, 1)} ms`,
    measurement.paced ? `paced p99 ${number(measurement.paced.ackP99Ms, 1)} ms` : '',
    lost > 0 ? `LOST ${lost}` : '',
    measurement.doubled > 0 ? `DOUBLED ${measurement.doubled}` : '',
    refused > 0 ? `REFUSED ${refused} (${measurement.firstRefusal})` : '',
  ]
  return parts.filter((text) => text !== '').join('  ')
}
