import { describe, expect, test } from '@jest/globals'
import protobuf from 'protobufjs'
import { loadProtos, protoDir, protoFiles } from '../../src/envoy/protos.ts'
import { differences, fullDefinitions, load, members } from './compare-protos.ts'

/** Names that the packaged definitions are too old for, each with the Envoy version that brought it. */
const newer: Record<string, string> = {}

// gRPC's own health protocol is not among Envoy's definitions: the wire test below holds it.
const envoyFiles = protoFiles.filter((file) => !file.startsWith('grpc/health/'))
const full = members(load(envoyFiles, fullDefinitions))

function parsed(source: string) {
  const root = protobuf.parse(source, { keepCase: true }).root
  root.resolveAll()
  return members(root)
}

test('every message, field, enum value and method of ours is one of Envoy’s', () => {
  const ours = members(load(envoyFiles, [protoDir]))

  expect(differences(ours, full, newer)).toEqual([])
  expect(ours.size).toBeGreaterThan(70)
})

describe('a definition that differs from Envoy’s is reported', () => {
  const denied = '.envoy.service.auth.v3.DeniedHttpResponse'
  const plant = (body: string) =>
    differences(
      parsed(`syntax = "proto3"; package envoy.service.auth.v3; message DeniedHttpResponse { ${body} }`),
      full,
    )

  test.each([
    ['a wrong number', 'string body = 4;', `${denied}.body: string = 4, Envoy: string = 3`],
    ['a wrong type', 'bytes body = 3;', `${denied}.body: bytes = 3, Envoy: string = 3`],
    ['a wrong name', 'string content = 3;', `${denied}.content: Envoy has no such name`],
    ['a wrong label', 'repeated string body = 3;', `${denied}.body: repeated string = 3, Envoy: string = 3`],
    [
      'a wrong oneof',
      'oneof x { string body = 3; }',
      `${denied}.body: string = 3 in oneof x, Envoy: string = 3`,
    ],
    ['a map', 'map<string, string> body = 3;', `${denied}.body: map<string, string> = 3, Envoy: string = 3`],
  ])('%s', (_name, body, report) => {
    expect(plant(body)).toEqual([report])
  })

  test('a wrong enum value', () => {
    const ours = parsed(
      'syntax = "proto3"; package envoy.type.v3; enum StatusCode { Empty = 0; Gone = 411; }',
    )

    expect(differences(ours, full)).toEqual(['.envoy.type.v3.StatusCode.Gone: 411, Envoy: 410'])
  })

  test('a wrong method', () => {
    const ours = parsed(`syntax = "proto3"; package envoy.service.auth.v3;
      service Authorization { rpc Check(stream CheckRequest) returns (CheckRequest); } message CheckRequest {}`)

    expect(differences(ours, full)).toEqual([
      '.envoy.service.auth.v3.Authorization.Check: ' +
        '(stream .envoy.service.auth.v3.CheckRequest) returns (.envoy.service.auth.v3.CheckRequest), Envoy: ' +
        '(.envoy.service.auth.v3.CheckRequest) returns (.envoy.service.auth.v3.CheckResponse)',
    ])
  })
})

test('a name newer than the packaged definitions passes while it is listed, and only so long', () => {
  const ours = parsed('syntax = "proto3"; package envoy.type.v3; message HttpStatus { string reason = 9; }')

  expect(differences(ours, full, { '.envoy.type.v3.HttpStatus.reason': '1.99' })).toEqual([])
  expect(differences(ours, full, { '.envoy.type.v3.HttpStatus': '1.99' })).toEqual([
    '.envoy.type.v3.HttpStatus.reason: Envoy has no such name',
    '.envoy.type.v3.HttpStatus: need not be listed as newer',
  ])
})

test('health speaks gRPC’s published protocol on the wire', () => {
  const { Health } = loadProtos()

  expect(Health.Check.path).toBe('/grpc.health.v1.Health/Check')
  expect(Health.Watch).toMatchObject({ path: '/grpc.health.v1.Health/Watch', responseStream: true })
  expect(Health.Check.requestSerialize({ service: 'a' }).toString('hex')).toBe('0a0161')
  expect(Health.Check.responseSerialize({ status: 'SERVING' }).toString('hex')).toBe('0801')
  expect(Health.Check.responseSerialize({ status: 'NOT_SERVING' }).toString('hex')).toBe('0802')
  expect(Health.Check.responseSerialize({ status: 'SERVICE_UNKNOWN' }).toString('hex')).toBe('0803')
})
