/** A way in which the network or a provider misbehaves. */
export const providerFaults = [
  'a small latency',
  'a latency beyond every timeout',
  'a black hole',
  'a refused connection',
  'a reset connection',
  'an answer that is garbage',
  'an answer that breaks off',
  'an answer that drips byte by byte',
] as const

/** One of {@link providerFaults}. */
export type ProviderFaultName = (typeof providerFaults)[number]

/** What callers see while a provider misbehaves, by what their token needs of it. */
export interface Seen {
  /** A good JWT, where Gatepost was started during the fault and has no keys. */
  jwt: string
  /** A good opaque token that nobody has shown yet. */
  opaque: string
  /** An opaque token that nobody issued. */
  unknown: string
  /** A good token whose user must be looked up, while introspection works. */
  userinfo: string
}

const nothing: Seen = {
  jwt: 'fault UNAVAILABLE',
  opaque: 'fault UNAVAILABLE',
  unknown: 'fault UNAVAILABLE',
  userinfo: 'fault UNAVAILABLE',
}

/** What callers see during each fault: never a wrong verdict, and after it what is right, without anybody's help. */
export const seenDuring: Readonly<Record<ProviderFaultName, Seen>> = {
  'a small latency': { jwt: 'allow', opaque: 'allow', unknown: 'deny invalid_token', userinfo: 'allow' },
  'a latency beyond every timeout': nothing,
  'a black hole': nothing,
  'a refused connection': nothing,
  'a reset connection': nothing,
  'an answer that is garbage': nothing,
  'an answer that breaks off': nothing,
  'an answer that drips byte by byte': nothing,
}
