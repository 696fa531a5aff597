/** Fields of events that tell of a person. */
export const personalFields = ['client_ip', 'user_agent', 'user_id'] as const

/** The name of a field that tells of a person. */
export type PersonalField = (typeof personalFields)[number]

/** What becomes of a personal field: it is left out, or a keyed hash stands in its place. */
export type PrivacyAction = 'drop' | 'hash'

/** What becomes of each personal field; one that is not named is told as it is. */
export type Privacy = Readonly<Partial<Record<PersonalField, PrivacyAction>>>
