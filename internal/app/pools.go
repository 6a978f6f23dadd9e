package app

// pools are the connections of each pool.
type pools struct{ tenant, pipeline, river int32 }

// beside are the connections beside those: two of the lane of lookups, the listener's, and the one that River takes
// out of its pool to listen.
const beside = 4

// poolSizes divides a process's connections: half to the pipeline, which acknowledges and appends; a quarter each to
// River and to the API.
func poolSizes(total int) pools {
	rest := int32(total - beside) // at least 7: config sees to it
	p := pools{pipeline: rest / 2, river: max(rest/4, 3)}
	p.tenant = rest - p.pipeline - p.river
	return p
}
