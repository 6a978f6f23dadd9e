// Runs in Chromium and under Node, each with its own EventSource, and says to base what that reports, in its order.
export async function watch(EventSource, base) {
  const { path, types } = await (await fetch(base + '/plan')).json()
  const source = new EventSource(base + path)
  let said = Promise.resolve()
  const say = (what) => {
    const body = JSON.stringify({ ...what, state: source.readyState })
    said = said.then(() => fetch(base + '/saw', { method: 'POST', body })).catch(() => source.close())
  }
  for (const type of types) {
    source.addEventListener(type, (e) => say({ what: 'message', type: e.type, data: e.data, id: e.lastEventId }))
  }
  source.addEventListener('open', () => say({ what: 'open' }))
  source.addEventListener('error', () => say({ what: 'error' }))
  return source
}

// orders does what the test asks for, until the test is gone: then it fails.
export async function orders(base, open, close) {
  for (;;) {
    const order = await (await fetch(base + '/next')).json()
    if (order.open) open(order.open)
    if (order.close) close(order.close)
  }
}
