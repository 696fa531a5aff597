import RequestQueue from 'kafkajs/src/network/requestQueue/index.js'

const { scheduleCheckPendingRequests: schedule } = RequestQueue.prototype

/**
 * Mends kafkajs 2.2.4, for the whole process: from its first answer on, every connection looks each millisecond whether
 * requests wait, for ever, where none does (tulios/kafkajs#1704), and Node warns of the negative delay (#1751). With
 * this it looks only while one waits. To be called before the first connection; again is harmless.
 */
export function mendRequestQueue(): void {
  RequestQueue.prototype.scheduleCheckPendingRequests = function (this: RequestQueue) {
    if (this.pending.length > 0) schedule.call(this)
  }
}
