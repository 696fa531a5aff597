import { type ICustomPartitioner, Partitioners, type RecordMetadata } from 'kafkajs'

/**
 * Holds kafkajs to account: which partitions a batch was sent to, and whether each was answered for. Where a leader has
 * moved between two tries, kafkajs may leave a partition out and resolve all the same (tulios/kafkajs#1303).
 */
export class KafkaLedger {
  /** `topic/partition`. */
  readonly #sentTo = new Set<string>()

  /** Chooses as the partitioner of Java's clients does, by murmur2 of the key, and takes down what it has chosen. */
  readonly partitioner: ICustomPartitioner = () => {
    const choose = Partitioners.DefaultPartitioner()
    return (args) => {
      const partition = choose(args)
      this.#sentTo.add(`${args.topic}/${partition}`)
      return partition
    }
  }

  /** Begins a batch. */
  begin(): void {
    this.#sentTo.clear()
  }

  /** @throws where a partition of the batch is not among those that brokers have answered for. */
  balance(answers: readonly Pick<RecordMetadata, 'topicName' | 'partition'>[]): void {
    const answered = new Set(answers.map(({ topicName, partition }) => `${topicName}/${partition}`))
    const forgotten = [...this.#sentTo].filter((place) => !answered.has(place))
    if (forgotten.length > 0) throw new Error(`no broker has answered for ${forgotten.join(', ')}`)
  }
}
