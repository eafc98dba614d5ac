/** Environments to begin with, and what is wrong with one. */
import { ConfigError } from '../../src/config/config-error.ts'
import { type LoadOptions, loadConfig } from '../../src/config/load-config.ts'

export const META = { META_APP_SECRET: 'meta-app-secret-0001', META_VERIFY_TOKEN: 'verify-token-0001' }
export const TWILIO = { TWILIO_AUTH_TOKEN: 'twilio-token-0001', PUBLIC_URL: 'https://wa.example.com' }
export const ADMIN = { ADMIN_PASSWORD: 'correct horse battery' }
export const PRODUCTION = {
  NODE_ENV: 'production',
  DATABASE_URL: 'postgres://db/wa',
  ...META,
  ...ADMIN,
}

export function problemsOf(env: NodeJS.ProcessEnv, options?: LoadOptions): readonly string[] {
  return errorOf(env, options).problems
}

export function errorOf(env: NodeJS.ProcessEnv, options?: LoadOptions): ConfigError {
  try {
    loadConfig(env, options)
  } catch (err) {
    if (err instanceof ConfigError) return err
    throw err
  }
  throw new Error('the configuration was taken')
}
