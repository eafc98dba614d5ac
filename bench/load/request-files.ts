/**
 * The requests of a workload, signed and ready to be written to a socket, made before any clock starts.
 *
 * Two files: the bytes of all requests one after the other, and where each of them begins and ends, in the order of
 * sending; a redelivery has the place of the first delivery.
 */
import { closeSync, openSync, readFileSync, writeFileSync, writeSync } from 'node:fs'

export type Requests = {
  count: number
  /** The request at this position in the order of sending. */
  at(position: number): Buffer
}

const FLUSH_BYTES = 4 * 1024 * 1024

/** `order[position]` is the number of the request that is sent there; `render` is called once for each number from 0. */
export function writeRequestFiles(
  path: string,
  requestCount: number,
  order: Uint32Array,
  render: (request: number) => Buffer,
): void {
  const offsets = new Float64Array(requestCount + 1)
  const file = openSync(bytesPath(path), 'w')
  let waiting: Buffer[] = []
  let waitingBytes = 0
  let written = 0
  const flush = () => {
    writeSync(file, Buffer.concat(waiting))
    written += waitingBytes
    waiting = []
    waitingBytes = 0
  }
  for (let request = 0; request < requestCount; request++) {
    const bytes = render(request)
    waiting.push(bytes)
    waitingBytes += bytes.length
    offsets[request + 1] = written + waitingBytes
    if (waitingBytes > FLUSH_BYTES) flush()
  }
  flush()
  closeSync(file)
  const places = new Float64Array(order.length * 2)
  order.forEach((request, position) => {
    places[position * 2] = offsets[request] ?? 0
    places[position * 2 + 1] = offsets[request + 1] ?? 0
  })
  writeFileSync(placesPath(path), new Uint8Array(places.buffer))
}

export function readRequestFiles(path: string): Requests {
  const bytes = readFileSync(bytesPath(path))
  const raw = readFileSync(placesPath(path))
  const places = new Float64Array(raw.buffer.slice(raw.byteOffset, raw.byteOffset + raw.byteLength))
  return {
    count: places.length / 2,
    at: (position) => bytes.subarray(places[position * 2], places[position * 2 + 1]),
  }
}

function bytesPath(path: string): string {
  return `${path}.bytes`
}

function placesPath(path: string): string {
  return `${path}.places`
}
