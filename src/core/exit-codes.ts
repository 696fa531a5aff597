/** Exit codes of the CLI; those from 64 on are sysexits.h's. */
export const exitCodes = {
  ok: 0,
  /** A check failed, or something unforeseen. */
  failed: 1,
  /** The command line makes no sense (EX_USAGE). */
  usage: 64,
  /** A dependency cannot be reached (EX_UNAVAILABLE). */
  unavailable: 69,
  /** The configuration, or the Node.js that runs it, will not do (EX_CONFIG). */
  configuration: 78,
} as const
