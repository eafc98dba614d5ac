import type { SendErrorTable } from '../send-errors.ts'

/**
 * Codes of the Graph API and of the Cloud API.
 *
 * - https://developers.facebook.com/documentation/business-messaging/whatsapp/support/error-codes
 * - https://developers.facebook.com/docs/graph-api/guides/error-handling: 1 to 4, 10, 17, 102, 190, 200 to 299, 341, 368
 * - https://developers.facebook.com/docs/graph-api/overview/rate-limiting: 32, 613
 * - Seen in answers to people, not in these lists: 100 with subcode 33 for a wrong phone number id; 2500 for a wrong address; 2635
 *   for a version of the API that has ended; 12 for a call that has; 141008 and 141014 for accounts that Meta has locked.
 */
export const META_SEND_ERRORS: SendErrorTable = {
  stop_sender: {
    0: 'the token has expired or was withdrawn',
    3: 'the app lacks a capability or permission',
    10: 'the permission was not granted, or was removed',
    12: 'this call has ended with its version of the API; see `META_GRAPH_URL`',
    33: 'the business number was deleted',
    '100/33': 'there is no such phone number id, or the token may not use it',
    102: 'the session of the token has ended',
    190: 'the token has expired or is not valid',
    '200-299': 'a permission was not granted, or was removed',
    368: 'the account is blocked for breaking a policy',
    2500: 'there is no such address in the API; see `META_GRAPH_URL`',
    2635: 'this version of the API has ended; see `META_GRAPH_URL`',
    131005: 'access denied',
    131031: 'the account is locked',
    131037: 'the display name of the number is not approved',
    131042: 'the account cannot be billed',
    131045: 'the registration of the number is faulty',
    133010: 'the number is not registered',
    141008: 'the account is locked',
    141014: 'the account is banned',
  },
  account_rate: {
    4: 'too many calls of the app',
    17: 'too many calls of the user',
    32: 'too many calls of the page',
    341: 'the app has reached a limit',
    613: 'too many calls of this kind',
    80007: 'too many calls of the business account',
  },
  number_rate: { 130429: 'the number has reached its throughput' },
  spam_suspicion: { 131048: 'too many messages of the number were blocked or reported as spam' },
  // Meta lifts the limit by itself, and does not say when.
  account_limit: { 131064: 'too many templates of the account were in a wrong category' },
  recipient_rate: { 131056: 'too many messages to this recipient' },
  number_upgrade: { 131057: 'the number is in maintenance, or moves to another throughput' },
  // They do not say whether it went wrong before the message was on its way.
  unknown: {
    2: 'temporary error of the API',
    131000: 'something went wrong',
    131016: 'overloaded',
    133004: 'temporarily unavailable',
  },
  failed: {
    100: 'a parameter is not valid',
    130472: 'the recipient is part of an experiment without marketing messages',
    130497: 'the account may not write to people in this country',
    131008: 'a parameter is missing',
    131009: 'the value of a parameter is not valid',
    131021: 'the recipient is the sender',
    131026: 'the recipient cannot get it: no WhatsApp, an old version, terms not accepted',
    131030: 'a test number, and the recipient is not on its list',
    131047: 'more than 24 hours since the recipient wrote; only templates may be sent',
    131049: 'Meta chose not to deliver it',
    131050: 'the recipient wants no marketing messages',
    131051: 'this type of message is not supported',
    131052: 'the file of a message could not be downloaded',
    131053: 'the file could not be taken',
    131062: 'this message cannot be sent to a user id',
    131063: 'the account may not write to people in this country',
    132000: 'the template has another number of parameters',
    132001: 'there is no such template in this language, or it is not approved',
    132005: 'the text of the template becomes too long',
    132007: 'the template breaks a policy',
    132012: 'a parameter of the template has another format',
    132015: 'the template is paused',
    132016: 'the template is disabled',
    132018: 'a parameter of the template is not valid, for example has line breaks',
    132068: 'the flow is blocked',
    132069: 'the flow is limited',
  },
  by_status: {
    1: 'the request is not valid, or the server has an error',
    135000: 'unknown error with the parameters',
    147005: "new in Meta's list; what it is about is not known here",
  },
}
