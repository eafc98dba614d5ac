import type { SendErrorTable } from '../send-errors.ts'

/**
 * Codes with which Twilio refuses a message; what happens to a message that it took comes as a status. Each code has a page:
 * https://www.twilio.com/docs/api/errors
 */
export const TWILIO_SEND_ERRORS: SendErrorTable = {
  stop_sender: {
    10001: 'the account is not active',
    20003: 'the credentials are wrong, or may not do this',
    20005: 'the account is not active',
    20008: 'the credentials are for tests',
    20010: 'sending is disabled for the account',
    20403: 'forbidden for the account',
    20404: 'there is no such account; see `TWILIO_ACCOUNT_SID` and `TWILIO_API_URL`',
    21212: 'the number is not valid as a sender',
    21606: 'the number cannot send, or belongs to another account',
    21607: 'a trial account, which may not send from this number',
    21659: "the number is not one of Twilio's",
    21660: 'the number belongs to another account',
    21701: 'there is no such messaging service in the account',
    21703: 'the messaging service has no number for this',
    21704: 'the messaging service has no numbers',
    21705: 'the messaging service is not valid',
    30002: 'the account is suspended',
    30404: 'there is no such account or messaging service',
    63001: 'WhatsApp refuses the credentials of the sender',
    63002: 'WhatsApp does not know the number',
    63007: 'the number is not a WhatsApp sender of the account',
    63008: 'the WhatsApp sender is not configured correctly',
    63020: 'the business account cannot be used or billed',
    63112: 'Meta has disabled the accounts of the sender',
    90010: 'the account is not active',
  },
  account_concurrency: {
    20429: 'too many requests of the account at a time',
    63017: 'the account sends faster than its limit',
  },
  number_queue_full: {
    21611: 'the queue of the number is full',
    30001: 'the queue is full',
  },
  number_rate: { 63018: "WhatsApp's limit of the number is reached" },
  account_limit: { 63038: 'the account has sent as many messages as it may in 24 hours' },
  provider_maintenance: { 21730: 'maintenance' },
  failed: {
    20422: 'a parameter is not valid',
    21211: 'the number of the recipient is not valid',
    21608: 'a trial account, and the recipient is not verified',
    21610: 'the recipient has opted out',
    21617: 'the text is longer than 1,600 characters',
    21655: 'the content template is not valid',
    21656: 'the variables of the content template are not valid',
    21658: 'a parameter is too long',
    63003: 'the recipient cannot be found in WhatsApp',
    63013: 'WhatsApp refuses the message for its content',
    63015: 'a sandbox, which the recipient has not joined',
    63016: 'more than 24 hours since the recipient wrote; only templates may be sent',
    63019: 'the file could not be downloaded',
    63021: 'WhatsApp refuses the content as not valid',
    63024: 'the recipient is not valid in WhatsApp',
    63032: 'WhatsApp does not let the recipient get it',
  },
  unknown: {
    20500: 'internal error',
    20503: 'temporarily unavailable',
  },
}
