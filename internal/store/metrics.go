package store

import (
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
)

// Measure has the registry ask the pools of a process how they are, whenever it is read.
func Measure(r prometheus.Registerer, s *Store, river *River) {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("tributary_pool_"+name, help, append([]string{"pool"}, labels...), nil)
	}
	r.MustRegister(&poolCollector{
		pools:       map[string]*pgxpool.Pool{"tenant": s.tenant, "pipeline": s.Pipeline.pool, "lookup": s.Pipeline.lookup, "river": river.pool},
		connections: desc("connections", "Connections to Postgres, by pool and state: acquired, idle, or constructing.", "state"),
		limit:       desc("connections_limit", "Connections that the pool may have."),
		acquires:    desc("acquires_total", "Times that a connection was taken from the pool."),
		canceled:    desc("canceled_acquires_total", "Times that somebody gave up waiting for a connection."),
		waits:       desc("waits_total", "Times that somebody had to wait for a connection, since none was idle."),
		waited:      desc("wait_seconds_total", "Time that was waited for connections, by those who got one in the end."),
		opened:      desc("opened_total", "Connections that were opened."),
	})
}

type poolCollector struct {
	pools                                                         map[string]*pgxpool.Pool // by name
	connections, limit, acquires, canceled, waits, waited, opened *prometheus.Desc
}

// Describe lists what Collect gives.
func (c *poolCollector) Describe(all chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.connections, c.limit, c.acquires, c.canceled, c.waits, c.waited, c.opened} {
		all <- d
	}
}

// Collect asks each pool.
func (c *poolCollector) Collect(all chan<- prometheus.Metric) {
	for name, pool := range c.pools {
		s := pool.Stat()
		send := func(d *prometheus.Desc, kind prometheus.ValueType, v float64, labels ...string) {
			all <- prometheus.MustNewConstMetric(d, kind, v, append([]string{name}, labels...)...)
		}
		send(c.connections, prometheus.GaugeValue, float64(s.AcquiredConns()), "acquired")
		send(c.connections, prometheus.GaugeValue, float64(s.IdleConns()), "idle")
		send(c.connections, prometheus.GaugeValue, float64(s.ConstructingConns()), "constructing")
		send(c.limit, prometheus.GaugeValue, float64(s.MaxConns()))
		send(c.acquires, prometheus.CounterValue, float64(s.AcquireCount()))
		send(c.canceled, prometheus.CounterValue, float64(s.CanceledAcquireCount()))
		send(c.waits, prometheus.CounterValue, float64(s.EmptyAcquireCount()))
		send(c.waited, prometheus.CounterValue, s.EmptyAcquireWaitTime().Seconds())
		send(c.opened, prometheus.CounterValue, float64(s.NewConnsCount()))
	}
}
