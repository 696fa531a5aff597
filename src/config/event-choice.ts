import { type EventType, eventTopics } from '../core/events.ts'
import { type PersonalField, type Privacy, type PrivacyAction, personalFields } from '../core/privacy.ts'
import { splitList } from '../core/routes.ts'
import { nearest } from './nearest.ts'
import { Unfit } from './parsers.ts'

const types = Object.keys(eventTopics) as EventType[]
const groups = [...new Set(types.map((type) => `${type.slice(0, type.indexOf('.'))}.*`))]
const everything = 'all'

/** Event types by commas, a group such as `auth.*`, or `all`; in the order of the catalogue, each once. */
export function eventTypes(value: string): readonly EventType[] {
  const entries = splitList(value)
  if (entries.length === 0) throw new Unfit('event types by commas, or all')
  const chosen = new Set(entries.flatMap(typesOf))
  return types.filter((type) => chosen.has(type))
}

function typesOf(entry: string): readonly EventType[] {
  if (entry === everything) return types
  const found = types.filter((type) => type === entry || (entry.endsWith('.*') && isIn(type, entry)))
  if (found.length > 0) return found
  throw new Unfit(
    `event types by commas, or all, and ${JSON.stringify(entry)} is none: did you mean ${nearest(entry, [...types, ...groups])}?`,
  )
}

function isIn(type: EventType, group: string): boolean {
  return type.startsWith(group.slice(0, -1))
}

/** A ratio from 0 to 1, such as `0.05`. */
export function ratio(value: string): number {
  const number = /^\d?(\.\d{1,9})?$/.test(value) && value !== '' ? Number(value) : Number.NaN
  if (number >= 0 && number <= 1) return number
  throw new Unfit('a ratio from 0 to 1, such as 0.05')
}

const actions: readonly PrivacyAction[] = ['drop', 'hash']
const privacyForm = `field=drop or field=hash by commas, of the fields ${personalFields.join(', ')}`

/** What becomes of personal data: `client_ip=drop,user_id=hash`. */
export function privacy(value: string): Privacy {
  const rules = splitList(value).map(privacyRule)
  const repeated = rules.find(([field], at) => rules.findIndex(([other]) => other === field) !== at)
  if (repeated) throw new Unfit(`${privacyForm}, each field once, and ${repeated[0]} is there twice`)
  return Object.fromEntries(rules)
}

function privacyRule(rule: string): [PersonalField, PrivacyAction] {
  const [name = '', word = '', ...more] = rule.split('=').map((part) => part.trim())
  const field = personalFields.find((known) => known === name)
  const action = actions.find((known) => known === word)
  if (field && action && more.length === 0) return [field, action]
  const hint = field ? '' : `: did you mean ${nearest(name, personalFields)}?`
  throw new Unfit(`${privacyForm}, and ${JSON.stringify(rule)} is none${hint}`)
}
