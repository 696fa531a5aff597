import { fileURLToPath } from 'node:url'
import { loadPackageDefinition } from '@grpc/grpc-js'
import { loadSync, type Options } from '@grpc/proto-loader'
import type { ProtoGrpcType as AccessLogTree } from './gen/als.ts'
import type { AccessLogServiceDefinition } from './gen/envoy/service/accesslog/v3/AccessLogService.ts'
import type { AuthorizationDefinition } from './gen/envoy/service/auth/v3/Authorization.ts'
import type { ExternalProcessorDefinition } from './gen/envoy/service/ext_proc/v3/ExternalProcessor.ts'
import type { ProtoGrpcType as AuthorizationTree } from './gen/external_auth.ts'
import type { ProtoGrpcType as ProcessorTree } from './gen/external_processor.ts'
import type { HealthDefinition } from './gen/grpc/health/v1/Health.ts'
import type { ProtoGrpcType as HealthTree } from './gen/health.ts'

/** The services Gatepost speaks, by the file below `proto/` that declares each; they import the rest. */
export const protoFiles = [
  'envoy/service/auth/v3/external_auth.proto',
  'envoy/service/ext_proc/v3/external_processor.proto',
  'envoy/service/accesslog/v3/als.proto',
  'grpc/health/v1/health.proto',
]

/** The `proto/` folder, the same for `src/envoy/protos.ts` and for `dist/envoy/protos.js`. */
export const protoDir = fileURLToPath(new URL('../../proto', import.meta.url))

/**
 * How messages look in JavaScript: fields named as in the protos, enums as their names, 64-bit integers as
 * numbers, absent fields absent, and each oneof as an extra field that names its filled member.
 * `npm run generate` derives the types in `gen/` from the same options.
 */
export const loaderOptions = {
  keepCase: true,
  longs: Number,
  enums: String,
  defaults: false,
  oneofs: true,
} satisfies Options

/** The gRPC services of `proto/`, ready for a server's `addService` or for `makeClientConstructor`. */
export type Protos = {
  Authorization: AuthorizationDefinition
  ExternalProcessor: ExternalProcessorDefinition
  AccessLogService: AccessLogServiceDefinition
  Health: HealthDefinition
}

let loaded: Protos | undefined

/** Reads `proto/` at the first call and returns the same definitions at every later one. */
export function loadProtos(): Protos {
  loaded ??= read()
  return loaded
}

function read(): Protos {
  const definitions = loadSync(protoFiles, { ...loaderOptions, includeDirs: [protoDir] })
  // The generator types one tree per file of `protoFiles`; the loader builds all of them into one.
  const tree = loadPackageDefinition(definitions) as unknown as AuthorizationTree &
    ProcessorTree &
    AccessLogTree &
    HealthTree
  return {
    Authorization: tree.envoy.service.auth.v3.Authorization.service,
    ExternalProcessor: tree.envoy.service.ext_proc.v3.ExternalProcessor.service,
    AccessLogService: tree.envoy.service.accesslog.v3.AccessLogService.service,
    Health: tree.grpc.health.v1.Health.service,
  }
}
