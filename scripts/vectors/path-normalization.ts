import { mergeSlashes, type NormalPath, normalizePath, resolvePath } from '../../src/core/paths.ts'
import { pathWithoutQuery } from '../../src/core/request.ts'
import { type Outcome, outcomeOf, readJson, unless, type VectorSet } from './report.ts'

type Pair = readonly [raw: string, expected: string]

interface Vectors {
  istio: Readonly<Record<string, readonly Pair[]>> & { MERGE_SLASHES: readonly Pair[] }
  envoy: {
    normalize_path: readonly Pair[]
    reject: readonly string[]
    merge_slashes: readonly Pair[]
    remove_query_and_fragment: readonly Pair[]
  }
}

/** Why Istio's other modes are no rule for Gatepost. */
const otherModes: Readonly<Record<string, string>> = {
  NONE: 'nothing is normalised: a path could be spelled past a route',
  BASE: 'slashes are not merged: those of a path could be doubled past a route',
  DECODE_AND_MERGE_SLASHES: 'escaped slashes become slashes: Gatepost refuses them, for upstreams differ',
}

/** Paths as Envoy's own path utility and Istio's MERGE_SLASHES normalise them. */
export const pathNormalization: VectorSet = {
  entry: 'path-normalization.json',
  async run(path) {
    const { envoy, istio } = readJson<Vectors>(path)
    const outcomes = [
      ...pairs('Envoy normalize_path', envoy.normalize_path, (raw) => shown(resolvePath(raw))),
      ...envoy.reject.map((raw) =>
        outcomeOf(`Envoy reject ${JSON.stringify(raw)}`, () => unless(normalizePath(raw).kind, 'unclear')),
      ),
      ...pairs('Envoy merge_slashes', envoy.merge_slashes, mergeSlashes),
      ...pairs('Envoy remove_query_and_fragment', envoy.remove_query_and_fragment, pathWithoutQuery),
      ...pairs('Istio MERGE_SLASHES', istio.MERGE_SLASHES, (raw) => shown(normalizePath(raw))),
      ...Object.keys(istio)
        .filter((mode) => mode !== 'MERGE_SLASHES' && otherModes[mode] === undefined)
        .map((mode) => outcomeOf(`Istio ${mode}`, () => 'nothing is known of this mode')),
    ]
    const leftOut = Object.entries(otherModes)
      .filter(([mode]) => istio[mode])
      .map(([mode, why]) => ({ name: `Istio ${mode}`, why }))
    return { outcomes: await Promise.all(outcomes), leftOut }
  },
}

function pairs(what: string, list: readonly Pair[], normalize: (raw: string) => string): Promise<Outcome>[] {
  return list.map(([raw, expected]) =>
    outcomeOf(`${what} ${JSON.stringify(raw)}`, () => unless(normalize(raw), expected)),
  )
}

function shown(normal: NormalPath): string {
  return normal.kind === 'path' ? normal.path : `unclear: ${normal.why}`
}
