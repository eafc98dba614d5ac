/** https://www.twilio.com/docs/whatsapp/guidance-whatsapp-media-messages */

const MAX_MEDIA_BYTES = 16 * 1024 * 1024

/** Why Twilio would not take this upload. */
export function refuseTwilioUpload(
  { size_bytes }: { size_bytes: number },
  publicUrl: string | undefined,
): 'no_public_url' | 'upload_too_large' | undefined {
  if (publicUrl === undefined) return 'no_public_url'
  return size_bytes > MAX_MEDIA_BYTES ? 'upload_too_large' : undefined
}
