/** Why a message cannot be stored to be sent, as an answer with the next step. */
import type { ProviderName } from '../core/event.ts'
import type { Refusal } from '../db/outbox/place.ts'
import type { FindMissingCredential } from '../providers/index.ts'
import type { ProviderDefinition } from '../providers/provider.ts'
import { ProblemError } from './problem.ts'

type RefusalAnswer = { status: number; pointer?: string; detail: string }

/** Some of the next steps depend on the providers. `provider`: that of `provider_not_configured`. */
export function refusalProblems(
  providers: readonly ProviderDefinition[],
  findMissingCredential: FindMissingCredential,
): (reason: Refusal, provider?: ProviderName) => ProblemError {
  const answers = { ...ANSWERS, ...answersOf(providers) }
  return (reason, provider = '') => {
    const { status, pointer, detail } =
      reason === 'provider_not_configured'
        ? notConfigured(providers, provider, findMissingCredential(provider))
        : answers[reason]
    const errors = pointer === undefined ? {} : { errors: [{ pointer, detail }] }
    return new ProblemError({ status, detail, extensions: { reason, ...errors } })
  }
}

function notConfigured(
  providers: readonly ProviderDefinition[],
  provider: ProviderName,
  missing: string | undefined,
): RefusalAnswer {
  const label = providers.find(({ name }) => name === provider)?.label ?? provider
  const nextStep = missing === undefined ? '' : `set ${missing}, or `
  return {
    status: 422,
    pointer: '#/provider',
    detail: `Nothing can be sent through ${label}: ${nextStep}name another provider.`,
  }
}

type ProviderRefusal = 'no_sender' | 'text_too_long' | 'upload_too_large' | 'no_public_url'

const MB = 1024 * 1024

function answersOf(providers: readonly ProviderDefinition[]): Record<ProviderRefusal, RefusalAnswer> {
  const numbers = providers.map(({ defaultNumberVariable }) => defaultNumberVariable)
  const limits = providers.flatMap(({ label, uploads: { maxBytes } }) =>
    maxBytes === undefined ? [] : [`${Math.floor(maxBytes / MB)} MB through ${label}`],
  )
  const lengths = providers.flatMap(({ label, maxTextLength }) =>
    maxTextLength === undefined ? [] : [`${maxTextLength} characters through ${label}`],
  )
  const fetching = providers.filter(({ uploads }) => uploads.isFetched).map(({ label }) => label)
  const pointer = '#/media/upload_id'
  return {
    no_sender: {
      status: 422,
      pointer: '#/provider',
      detail: `There is no number to send from: set ${numbers.join(', or ')}.`,
    },
    text_too_long: {
      status: 422,
      pointer: '#/text',
      detail: `The text is longer than this provider takes: ${lengths.join(', ')}.`,
    },
    upload_too_large: {
      status: 422,
      pointer,
      detail: `The file is larger than this provider takes: ${limits.join(', ')}.`,
    },
    no_public_url: {
      status: 422,
      pointer,
      detail: `${fetching.join(', ')} fetches uploads from this service: set PUBLIC_URL, or give a \`url\`.`,
    },
  }
}

const ANSWERS: Record<Exclude<Refusal, ProviderRefusal | 'provider_not_configured'>, RefusalAnswer> = {
  conversation_not_found: {
    status: 422,
    pointer: '#/conversation_id',
    detail: 'There is no conversation with this id.',
  },
  recipient_invalid: { status: 422, pointer: '#/to', detail: 'This names nobody to send to.' },
  provider_mismatch: {
    status: 422,
    pointer: '#/provider',
    detail: 'The conversation is with another provider. Leave `provider` out to use that one.',
  },
  reply_not_found: {
    status: 422,
    pointer: '#/reply_to',
    detail: 'The conversation has no message with this id that could be answered.',
  },
  reaction_target_not_found: {
    status: 422,
    pointer: '#/reaction/message_id',
    detail: 'The conversation has no message with this id that could be reacted to.',
  },
  upload_not_found: {
    status: 422,
    pointer: '#/media/upload_id',
    detail: 'There is no upload with this id, or not any more. Upload the file again.',
  },
  upload_type: {
    status: 422,
    pointer: '#/type',
    detail: 'The uploaded file is of another kind. Send it as what it is, or as a document.',
  },
  message_not_found: { status: 404, detail: 'There is no such message.' },
  not_resendable: {
    status: 409,
    detail: 'Only messages sent from here with status unknown, failed or undelivered can be sent again.',
  },
}
