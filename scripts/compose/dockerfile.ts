/** An instruction of a Dockerfile: its keyword and the rest of its line. */
export interface Instruction {
  keyword: string
  rest: string
}

/** A stage: what it begins with, and what it then does. */
export interface Stage {
  /** The stage or image that it begins with. */
  from: string
  instructions: readonly Instruction[]
}

/** What an image runs, and how. */
export interface ImageConfig {
  entrypoint: readonly string[]
  command: readonly string[]
  environment: Readonly<Record<string, string>>
  user: string
  workFolder: string
  healthcheck: readonly string[] | undefined
}

/** Reads the stages of a Dockerfile by their names, in their order. */
export function readStages(text: string): Map<string, Stage> {
  const stages = new Map<string, Stage & { instructions: Instruction[] }>()
  let current: Instruction[] = []
  for (const instruction of readInstructions(text)) {
    const [, from, name] = /^(\S+) AS (\S+)$/.exec(instruction.rest) ?? []
    if (instruction.keyword !== 'FROM') current.push(instruction)
    else {
      current = []
      stages.set(name ?? '', { from: from ?? '', instructions: current })
    }
  }
  return stages
}

function readInstructions(text: string): Instruction[] {
  const lines = text
    .split('\n')
    .filter((line) => !line.startsWith('#') && line.trim() !== '')
    .join('\n')
    .replaceAll(/\\\n\s*/g, '')
  return lines.split('\n').map((line) => {
    const [keyword = '', ...rest] = line.split(' ')
    return { keyword, rest: rest.join(' ').trim() }
  })
}

/** What an image of this stage runs; what a stage does not say comes from the one that it begins with. */
export function imageConfig(stages: ReadonlyMap<string, Stage>, name: string): ImageConfig {
  const stage = stages.get(name)
  if (!stage)
    return { entrypoint: [], command: [], environment: {}, user: '', workFolder: '/', healthcheck: undefined }
  const base = imageConfig(stages, stage.from)
  return stage.instructions.reduce(withInstruction, base)
}

function withInstruction(config: ImageConfig, { keyword, rest }: Instruction): ImageConfig {
  switch (keyword) {
    case 'ENTRYPOINT':
      return { ...config, entrypoint: JSON.parse(rest) }
    case 'CMD':
      return { ...config, command: JSON.parse(rest) }
    case 'USER':
      return { ...config, user: rest }
    case 'WORKDIR':
      return { ...config, workFolder: rest }
    case 'HEALTHCHECK':
      return { ...config, healthcheck: JSON.parse(rest.replace(/^.* CMD /, '')) }
    case 'ENV':
      return { ...config, environment: { ...config.environment, ...variablesIn(rest) } }
    default:
      return config
  }
}

function variablesIn(rest: string): Record<string, string> {
  return Object.fromEntries(
    [...rest.matchAll(/(\w+)=(\S+)/g)].map(([, name = '', value = '']) => [name, value]),
  )
}
