export type WamidParts = {
  /** Phone digits or business-scoped user id of the person at the other end. */
  peer: string
  isFromBusiness: boolean
  /** 8 hexadecimal digits that no other run has. */
  run: string
  /** Within the run and the direction. */
  number: number
}

/**
 * A message id of the form that WhatsApp gives: base64 of a compact Thrift structure with the peer's id, who wrote it,
 * and a key of 20 hexadecimal digits. The run is in the key, so that ids of two runs never meet.
 */
export function createWamid({ peer, isFromBusiness, run, number }: WamidParts): string {
  const key = `3A${run}${number.toString(16).padStart(10, '0')}`.toUpperCase()
  const structure = Buffer.concat([
    Buffer.from([0x1c, 0x18, peer.length]),
    Buffer.from(peer, 'latin1'),
    Buffer.from([0x15, 0x02, 0x00, isFromBusiness ? 0x11 : 0x12, 0x18, key.length]),
    Buffer.from(key, 'latin1'),
    Buffer.from([0x00]),
  ])
  return `wamid.${structure.toString('base64')}`
}
