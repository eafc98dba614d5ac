/** Addresses as Twilio's API takes them. */
import type { Recipient } from '../../core/outbound.ts'

/** A messaging service chooses the number for each message by itself. */
export function isMessagingService(businessNumber: string): boolean {
  return /^MG[0-9a-fA-F]{32}$/.test(businessNumber)
}

/** Digits are a number, `MG…` is a messaging service. */
export function senderField(businessNumber: string): Record<string, string> {
  if (isMessagingService(businessNumber)) return { MessagingServiceSid: businessNumber }
  return { From: address(businessNumber) }
}

export function recipientAddress({ phone, user_id }: Recipient): string | undefined {
  const name = phone ?? user_id
  return name === undefined ? undefined : address(name)
}

function address(name: string): string {
  return `whatsapp:${/^\d+$/.test(name) ? '+' : ''}${name}`
}
