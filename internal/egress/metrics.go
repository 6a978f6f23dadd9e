package egress

import "github.com/prometheus/client_golang/prometheus"

// What became of a fetch, for the metric.
const (
	fetchOK      = "ok"
	fetchFailed  = "failed"
	fetchRefused = "refused" // too many requests to that host
)

func newFetchCounter(registerer prometheus.Registerer) *prometheus.CounterVec {
	counter := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tributary_egress_key_fetches_total",
		Help: "Fetches of others' key sets, by what became of them.",
	}, []string{"result"})
	for _, result := range []string{fetchOK, fetchFailed, fetchRefused} {
		counter.WithLabelValues(result)
	}
	if registerer != nil {
		registerer.MustRegister(counter)
	}
	return counter
}
