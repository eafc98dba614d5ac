import { describe, expect, test } from 'vitest'
import { createCircuit } from '../../src/core/circuit.ts'

function circuitAt() {
  const clock = { now: 0 }
  return { clock, circuit: createCircuit({ coolDownMs: 1000, now: () => clock.now }) }
}

describe('createCircuit', () => {
  test('lets everybody through until a failure, then nobody', () => {
    const { circuit } = circuitAt()

    expect([circuit.tryEnter(), circuit.tryEnter()]).toEqual([true, true])
    circuit.fail()
    expect([circuit.tryEnter(), circuit.isOpen()]).toEqual([false, true])
  })

  test('lets one try after the cool-down, and the others when it succeeded', () => {
    const { circuit, clock } = circuitAt()
    circuit.fail()
    clock.now = 1000

    expect([circuit.tryEnter(), circuit.tryEnter()]).toEqual([true, false])
    circuit.succeed()
    expect([circuit.tryEnter(), circuit.tryEnter()]).toEqual([true, true])
  })

  test('stays open for another cool-down when the try failed', () => {
    const { circuit, clock } = circuitAt()
    circuit.fail()
    clock.now = 1000
    circuit.tryEnter()
    circuit.fail()
    clock.now = 1999

    expect(circuit.tryEnter()).toBe(false)
  })
})
