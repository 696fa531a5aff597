import { join } from 'node:path'
import { afterAll, beforeAll, expect, jest, test } from '@jest/globals'
import { accountOf } from '../faults/account.ts'
import { freshQueue, freshTopics, outOfOrder, readKafka, readRabbit } from '../faults/delivered.ts'
import { startLoad } from '../faults/load.ts'
import { type Stage, startStage, untilSettled } from '../faults/stage.ts'
import { type TempFolder, tempFolder } from '../support/temp.ts'

// Two brokers, an Envoy and two Gateposts are started, on machines that may be busy.
jest.setTimeout(180_000)

let stage: Stage
let folder: TempFolder
beforeAll(async () => {
  folder = await tempFolder('brokers')
  stage = await startStage((line) => process.stderr.write(`${line}\n`))
  await freshTopics(stage.kafka)
  await freshQueue(stage.rabbit.address)
})
afterAll(async () => {
  await stage?.[Symbol.asyncDispose]()
  await folder.remove()
})

test('every request through Envoy is told to Kafka and to RabbitMQ, once and as it was, over a restart by SIGTERM', async () => {
  const dataFolder = join(folder.path, 'data')
  const plan = { requests: 500, perSecond: 250, keys: stage.keys }

  const first = await stage.startGatepost(dataFolder)
  const before = await startLoad(stage.origin, { ...plan, name: 'before' }).done
  // At once: what Envoy has not yet told of is to be waited for.
  await first.stop()
  await using second = await stage.startGatepost(dataFolder)
  const after = await startLoad(stage.origin, { ...plan, name: 'after' }).done
  await untilSettled(second)

  const [kafka, rabbit] = [await readKafka(stage.kafka), await readRabbit(stage.rabbit.address)]
  const requests = [...before, ...after]
  expect(new Set(requests.map(({ status }) => status))).toEqual(new Set([200, 401]))
  for (const { events, problems } of [kafka, rabbit]) {
    expect(problems).toEqual([])
    const account = accountOf(requests, events)
    // One in twenty is refused, which is an event of its own.
    expect(account).toMatchObject({ due: 1_050, delivered: 1_050, copies: 0, lost: {}, problems: [] })
  }
  expect(outOfOrder(kafka.events, rabbit.events)).toEqual([])
})
