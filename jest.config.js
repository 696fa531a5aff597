const shared = {
  testEnvironment: 'node',
  extensionsToTreatAsEsm: ['.ts'],
  transform: {
    '\\.ts$': [
      '@swc/jest',
      { jsc: { target: 'es2024', parser: { syntax: 'typescript' } }, module: { type: 'es6' } },
    ],
  },
}

/**
 * `unit` needs nothing but Node; `fuzz` neither, but takes its time (`FUZZ_RUNS` sets how much); `e2e` starts whole
 * processes: Gatepost, and the real Envoy, fetched on first use; `mesh` starts what is large or built.
 */
export default {
  // By default jest would leave one of two processors to itself, where most tests wait for other processes.
  maxWorkers: '100%',
  projects: [
    {
      ...shared,
      displayName: 'unit',
      testMatch: ['<rootDir>/test/**/*.test.ts'],
      testPathIgnorePatterns: ['/node_modules/', '<rootDir>/test/(e2e|fuzz|mesh)/'],
    },
    { ...shared, displayName: 'fuzz', testMatch: ['<rootDir>/test/fuzz/**/*.test.ts'] },
    { ...shared, displayName: 'e2e', testMatch: ['<rootDir>/test/e2e/**/*.test.ts'] },
    { ...shared, displayName: 'mesh', testMatch: ['<rootDir>/test/mesh/**/*.test.ts'] },
  ],
}
