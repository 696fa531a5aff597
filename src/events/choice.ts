import type { EventType, Happening, RequestCompleted } from '../core/events.ts'

/** Whether an event is told. */
export type Choose = (happening: Happening) => boolean

/** Why an event was left out on purpose: its type is not told, or the sample was without it. */
export type LeftOut = 'type' | 'sample'

/** What the choice is made by. */
export interface ChoiceParts {
  types: readonly EventType[]
  /** Ratio of `request.completed` that is told, from 0 to 1; errors and denials are told always. */
  sample: number
  /** From 0 up to, not including, 1; asked once for each request that the sample may leave out. */
  random: () => number
  /** Told of each event that is left out; for metrics. */
  onLeftOut: (type: EventType, why: LeftOut) => void
}

/** Makes the choice, which comes before an event takes any room. */
export function createChoice({ types, sample, random, onLeftOut }: ChoiceParts): Choose {
  const told = new Set(types)

  function whyNot(happening: Happening): LeftOut | undefined {
    if (!told.has(happening.type)) return 'type'
    if (sample >= 1 || !isCompleted(happening) || isRemarkable(happening.data)) return undefined
    return random() < sample ? undefined : 'sample'
  }

  return (happening) => {
    const why = whyNot(happening)
    if (why) onLeftOut(happening.type, why)
    return why === undefined
  }
}

function isCompleted(happening: Happening): happening is Happening<'request.completed'> {
  return happening.type === 'request.completed'
}

/** Whether a request failed, was refused, or would have been but for shadow mode. */
function isRemarkable({ status_code, decision, shadow }: RequestCompleted): boolean {
  return status_code >= 500 || decision === 'deny' || decision === 'fault' || shadow !== undefined
}
