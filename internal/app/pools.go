package app

// pools are the connections of each pool. The lane of lookups has two more, and the listener one.
type pools struct{ tenant, pipeline, river int32 }

const laneAndListener = 3

// poolSizes divides a process's connections: half to the pipeline, which acknowledges and appends; a quarter each to
// River and to the API.
func poolSizes(total int) pools {
	rest := int32(max(total-laneAndListener, 7))
	p := pools{pipeline: rest / 2, river: max(rest/4, 3)}
	p.tenant = rest - p.pipeline - p.river
	return p
}
