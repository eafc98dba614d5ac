/** Runs before each test file: a setup file's hook runs after all hooks of the test file itself. */
import { afterAll } from 'vitest'
import { releaseEverything } from './clean-up.ts'

afterAll(releaseEverything)
