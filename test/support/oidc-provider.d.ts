/** The part of oidc-provider that test support uses; the package ships no types. */
declare module 'oidc-provider' {
  import type { IncomingMessage, ServerResponse } from 'node:http'

  export interface IssuedToken {
    header: Record<string, unknown> | undefined
    payload: Record<string, unknown>
  }

  export class Provider {
    constructor(issuer: string, configuration: Record<string, unknown>)
    readonly issuer: string
    readonly Client: { find(id: string): Promise<object | undefined> }
    readonly Grant: new (properties: {
      clientId: string
      accountId: string
    }) => { addOIDCScope(scope: string): void; save(): Promise<string> }
    readonly AccessToken: new (
      properties: Record<string, unknown>,
    ) => { save(): Promise<string> }
    callback(): (request: IncomingMessage, response: ServerResponse) => Promise<void>
  }
}
