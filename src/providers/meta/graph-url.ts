import { baseUrl, format } from '../../variables/value-formats.ts'

/** Graph API without a version means the oldest one that still answers, so the version is part of the address. */
export const graphUrl = baseUrl.pipe(
  format('an address that ends in the version, such as https://graph.facebook.com/v25.0', (value) =>
    /\/v\d+\.\d+$/.test(value) ? value : undefined,
  ),
)
