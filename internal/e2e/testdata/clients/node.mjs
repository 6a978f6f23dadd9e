// node node.mjs TEST: the npm client, for all cases. It stands in a folder with its modules.
import { EventSource } from 'eventsource'
import { orders, watch } from './watch.mjs'

const sources = new Map()
await orders(
  process.argv[2],
  (base) => sources.set(base, watch(EventSource, base).catch(() => ({ close() {} }))),
  (base) => sources.get(base).then((source) => source.close()),
).catch(() => {}) // the test is gone
process.exit(0)
