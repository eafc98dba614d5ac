import { describe, expect, test } from 'vitest'
import { createCircuit } from '../../src/core/circuit.ts'

function circuitAt() {
  const clock = { now: 0 }
  return { clock, circuit: createCircuit({ coolDownMs: 1000, now: () => clock.now }) }
}

describe('createCircuit', () => {
  test('lets every call through until a failure, then none', () => {
    const { circuit } = circuitAt()

    expect([circuit.tryEnter(), circuit.tryEnter()]).toEqual([true, true])
    circuit.fail()
    expect([circuit.tryEnter(), circuit.isOpen()]).toEqual([false, true])
  })

  test('lets one trial through after the cool-down, and every call once it succeeded', () => {
    const { circuit, clock } = circuitAt()
    circuit.fail()
    clock.now = 1000

    expect([circuit.tryEnter(), circuit.tryEnter()]).toEqual([true, false])
    circuit.succeed()
    expect([circuit.tryEnter(), circuit.tryEnter()]).toEqual([true, true])
  })

  test('stays open for another cool-down when the trial failed', () => {
    const { circuit, clock } = circuitAt()
    circuit.fail()
    clock.now = 1000
    circuit.tryEnter()
    circuit.fail()
    clock.now = 1999

    expect(circuit.tryEnter()).toBe(false)
  })
})
