import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import protobuf from 'protobufjs'

const require = createRequire(import.meta.url)
const depsDir = join(dirname(require.resolve('@grpc/grpc-js-xds/package.json')), 'deps')
const protobufjsDir = dirname(require.resolve('protobufjs/package.json'))

/** Include folders of Envoy's own full definitions, as the npm package `@grpc/grpc-js-xds` carries them. */
export const fullDefinitions = [
  ...['envoy-api', 'googleapis', 'protoc-gen-validate', 'xds'].map((name) => join(depsDir, name)),
  protobufjsDir,
]

/**
 * Loads `files` and all they import, with type names resolved.
 * @param includeDirs searched in order; Google's well-known types come with protobufjs.
 */
export function load(files: string[], includeDirs: string[]): protobuf.Root {
  const root = new protobuf.Root()
  root.resolvePath = (_origin, target) => {
    const found = includeDirs.map((dir) => join(dir, target)).find((path) => existsSync(path))
    return found ?? target
  }
  root.loadSync(files, { keepCase: true })
  root.resolveAll()
  return root
}

/** What a compared definition is called and how it looks on the wire, one line a member. */
type Members = Map<string, string>

/**
 * Every message, field, enum value and method of `root` outside `google.protobuf`.
 * The key is the full name; the value tells number, type, label and oneof, which is all the wire knows.
 */
export function members(root: protobuf.Root): Members {
  const found: Members = new Map()
  for (const object of walk(root)) {
    if (object instanceof protobuf.Type) describeType(object, found)
    if (object instanceof protobuf.Enum) describeEnum(object, found)
    if (object instanceof protobuf.Service) describeService(object, found)
  }
  return found
}

/**
 * Holds our members against the full ones.
 * @param newer full names that the full definitions are too old to have, each with the Envoy version that
 *   brought it; one that they do have is reported, so that the list cannot outlive its reason.
 * @returns one sentence per difference; empty when all of ours agree.
 */
export function differences(ours: Members, full: Members, newer: Record<string, string> = {}): string[] {
  const wrong = [...ours].flatMap(([name, is]) => {
    const shouldBe = full.get(name)
    if (shouldBe === is || (shouldBe === undefined && name in newer)) return []
    return shouldBe === undefined
      ? [`${name}: Envoy has no such name`]
      : [`${name}: ${is}, Envoy: ${shouldBe}`]
  })
  const stale = Object.keys(newer).filter((name) => full.has(name) || !ours.has(name))
  return [...wrong, ...stale.map((name) => `${name}: need not be listed as newer`)]
}

function walk(namespace: protobuf.NamespaceBase): protobuf.ReflectionObject[] {
  return namespace.nestedArray.flatMap((object) => {
    if (object.fullName === '.google.protobuf') return []
    return object instanceof protobuf.Namespace ? [object, ...walk(object)] : [object]
  })
}

function describeType(type: protobuf.Type, found: Members): void {
  found.set(type.fullName, 'message')
  for (const field of type.fieldsArray) found.set(field.fullName, describeField(field))
}

function describeField(field: protobuf.Field): string {
  const type = field.resolvedType?.fullName ?? field.type
  const label = field.repeated ? 'repeated ' : ''
  const shape = field instanceof protobuf.MapField ? `map<${field.keyType}, ${type}>` : `${label}${type}`
  return `${shape} = ${field.id}${field.partOf ? ` in oneof ${field.partOf.name}` : ''}`
}

function describeEnum(type: protobuf.Enum, found: Members): void {
  found.set(type.fullName, 'enum')
  for (const [name, value] of Object.entries(type.values)) found.set(`${type.fullName}.${name}`, `${value}`)
}

function describeService(service: protobuf.Service, found: Members): void {
  found.set(service.fullName, 'service')
  for (const method of service.methodsArray) {
    method.resolve()
    const request = `${method.requestStream ? 'stream ' : ''}${method.resolvedRequestType?.fullName}`
    const response = `${method.responseStream ? 'stream ' : ''}${method.resolvedResponseType?.fullName}`
    found.set(method.fullName, `(${request}) returns (${response})`)
  }
}
