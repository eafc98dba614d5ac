/**
 * Which user ids can belong to one person.
 *
 * A person has one user id in each business portfolio, and another one in the next portfolio. Webhooks do not name the
 * portfolio, only the account that received them (Meta: WABA, Twilio: AccountSid), and an account belongs to one portfolio.
 * So two contacts that both have a user id of one account are two people, also when one phone number was seen with both.
 * Accounts in which the same user id was seen belong to one portfolio.
 * https://developers.facebook.com/documentation/business-messaging/whatsapp/business-scoped-user-ids
 */

/** The account of a user id is not known: the id came from an API request, or was stored by an earlier version. */
export const UNKNOWN_ACCOUNT = ''

export type Portfolios = {
  /** The portfolio by account; an account that is not in it is a portfolio of its own. */
  known: Map<string, string>
  /** Accounts turned out to belong to one portfolio; that is not stored yet. */
  isChanged: boolean
}

/** A business-scoped user id of Meta's documented form. Others, such as the name of an SMS sender, repeat between portfolios. */
const BUSINESS_SCOPED_USER_ID = /^[A-Z]{2}\.[A-Za-z0-9]{1,128}$/

/**
 * Whether two contacts, each with user ids of these accounts, are two people, unless they are seen together or named in an identity
 * change. An unknown account may be of any portfolio: rather two contacts that a later message joins than two people in one.
 */
export function areTwoPeople(
  portfolios: Portfolios,
  ours: readonly string[],
  theirs: readonly string[],
): boolean {
  if (ours.length === 0 || theirs.length === 0) return false
  if (ours.includes(UNKNOWN_ACCOUNT) || theirs.includes(UNKNOWN_ACCOUNT)) return true
  const own = new Set(ours.map((account) => portfolioOf(portfolios, account)))
  return theirs.some((account) => own.has(portfolioOf(portfolios, account)))
}

/** Notes that a user id, first seen in one account, was seen in another one. */
export function recordAccounts(portfolios: Portfolios, userId: string, first: string, now: string): void {
  if (first === now || first === UNKNOWN_ACCOUNT || now === UNKNOWN_ACCOUNT) return
  if (!BUSINESS_SCOPED_USER_ID.test(userId)) return
  const [kept = '', joined = ''] = [first, now].map((account) => portfolioOf(portfolios, account)).sort()
  if (kept === joined) return
  for (const [account, portfolio] of portfolios.known)
    if (portfolio === joined) portfolios.known.set(account, kept)
  for (const account of [first, now]) portfolios.known.set(account, kept)
  portfolios.isChanged = true
}

function portfolioOf({ known }: Portfolios, account: string): string {
  return known.get(account) ?? account
}
