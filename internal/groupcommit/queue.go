package groupcommit

// queue holds the waiters, a lane for each key, and the lanes in the order of their turns. It has no lock
// of its own. Its bound is the caller's to keep.
type queue[In, Out any] struct {
	items int
	bytes int
	lanes map[[16]byte]*lane[In, Out] // those with waiters
	turns node[*lane[In, Out]]        // sentinel; the lane whose turn is next comes first
	spare []*lane[In, Out]            // empty ones, to be used again
}

// lane is the waiters of one key in the order of their arrival.
type lane[In, Out any] struct {
	waiters node[*waiter[In, Out]] // sentinel
	link    node[*lane[In, Out]]   // in turns
}

func newQueue[In, Out any]() *queue[In, Out] {
	q := &queue[In, Out]{lanes: map[[16]byte]*lane[In, Out]{}}
	q.turns.reset()
	return q
}

// push puts w at the end of its lane. A lane that was empty takes its turn after all others.
func (q *queue[In, Out]) push(w *waiter[In, Out]) {
	l := q.lanes[w.key]
	if l == nil {
		l = q.newLane()
		q.lanes[w.key] = l
		q.turns.append(&l.link)
	}
	w.lane = l
	l.waiters.append(&w.link)
	q.items++
	q.bytes += w.size
}

// remove takes w out, wherever it stands in its lane.
func (q *queue[In, Out]) remove(w *waiter[In, Out]) {
	l := w.lane
	w.lane = nil
	w.link.unlink()
	q.items--
	q.bytes -= w.size
	if l.waiters.empty() {
		delete(q.lanes, w.key)
		l.link.unlink()
		q.spare = append(q.spare, l)
	}
}

// take appends the next batch to into: one waiter of each lane in turn, until either bound is reached. The
// lane whose waiter did not fit keeps its turn. A batch has at least one waiter if any waits.
func (q *queue[In, Out]) take(into []*waiter[In, Out], maxItems, maxBytes int) []*waiter[In, Out] {
	size := 0
	for len(into) < maxItems && q.items > 0 {
		l := q.turns.next.value
		w := l.waiters.next.value
		size += w.size
		if size > maxBytes && len(into) > 0 {
			break
		}
		q.remove(w)
		into = append(into, w)
		if !l.waiters.empty() {
			l.link.unlink()
			q.turns.append(&l.link)
		}
	}
	return into
}

func (q *queue[In, Out]) newLane() *lane[In, Out] {
	if n := len(q.spare); n > 0 {
		l := q.spare[n-1]
		q.spare = q.spare[:n-1]
		return l
	}
	l := &lane[In, Out]{}
	l.link.value = l
	l.waiters.reset()
	return l
}

// node is a place in a circular list that its elements carry themselves: queueing allocates nothing, and
// a caller that leaves is unlinked wherever it stands. The list's sentinel is a node without a value.
type node[T any] struct {
	prev, next *node[T]
	value      T
}

func (n *node[T]) reset() { n.prev, n.next = n, n }

func (n *node[T]) empty() bool { return n.next == n }

// append puts m last in the list of which n is the sentinel.
func (n *node[T]) append(m *node[T]) {
	m.prev, m.next = n.prev, n
	n.prev.next, n.prev = m, m
}

func (n *node[T]) unlink() {
	n.prev.next, n.next.prev = n.next, n.prev
	n.prev, n.next = nil, nil
}
