package store

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
)

// What tells one cluster, and one history of it, from another. Some hosted servers refuse one or both.
const (
	clusterFunction  = "pg_control_system()"
	timelineFunction = "pg_walfile_name()"
)

// Epoch tells one history of positions from another, as text of 8 hex characters. It is the one of the newest
// connection; who asks has it asked for anew, for it may change under a connection too.
//
// It is a hash over the cluster's identity, its timeline, the oid of log_heads and the stored salt: a promotion, a
// point-in-time restore and a dump loaded anew each change it. A function that the server refuses counts as empty; a
// server in recovery is Unavailable: it is treated as away.
func (p *Pipeline) Epoch(ctx context.Context) (string, error) {
	epoch, _, err := p.epoch(ctx)
	return epoch, err
}

// EpochRefused lists the functions by which the server does not let the epoch be told.
func (p *Pipeline) EpochRefused(ctx context.Context) ([]string, error) {
	_, refused, err := p.epoch(ctx)
	return refused, err
}

func (p *Pipeline) epoch(ctx context.Context) (epoch string, refused []string, err error) {
	conn, err := p.pool.Acquire(ctx)
	if err != nil {
		return "", nil, fmt.Errorf("ask for the epoch: %w", failure(err))
	}
	defer conn.Release()
	before := epochOf(conn.Conn())
	now, refused, err := askEpoch(ctx, conn.Conn())
	if err != nil {
		return "", nil, fmt.Errorf("ask for the epoch: %w", failure(err))
	}
	setEpoch(conn.Conn(), now)
	return p.history.changed(before, now), refused, nil
}

func askEpoch(ctx context.Context, conn *pgx.Conn) (epoch string, refused []string, err error) {
	// The privilege is checked before anything is asked, so each combination is a statement of its own. Postgres does
	// not say which function it refused in a form to rely on.
	for _, try := range []struct {
		sql     string
		refused []string
	}{
		{epochSQL, nil},
		{epochWithoutClusterSQL, []string{clusterFunction}},
		{epochWithoutTimelineSQL, []string{timelineFunction}},
		{epochOfSaltSQL, []string{clusterFunction, timelineFunction}},
	} {
		if err = conn.QueryRow(ctx, try.sql).Scan(&epoch); err == nil {
			return epoch, slices.Clone(try.refused), nil
		}
		if !isRefusal(err) {
			break
		}
	}
	return "", nil, err
}

const (
	epochSQL = `
		SELECT left(encode(sha256(convert_to(concat_ws(':', (SELECT system_identifier FROM pg_control_system()),
			left(pg_walfile_name(pg_current_wal_lsn()), 8), 'tributary.log_heads'::regclass::oid,
			(SELECT salt FROM tributary.epoch)), 'UTF8')), 'hex'), 8)`
	epochWithoutClusterSQL = `
		SELECT left(encode(sha256(convert_to(concat_ws(':', '', left(pg_walfile_name(pg_current_wal_lsn()), 8),
			'tributary.log_heads'::regclass::oid, (SELECT salt FROM tributary.epoch)), 'UTF8')), 'hex'), 8)`
	epochWithoutTimelineSQL = `
		SELECT left(encode(sha256(convert_to(concat_ws(':', (SELECT system_identifier FROM pg_control_system()), '',
			'tributary.log_heads'::regclass::oid, (SELECT salt FROM tributary.epoch)), 'UTF8')), 'hex'), 8)`
	epochOfSaltSQL = `
		SELECT left(encode(sha256(convert_to(concat_ws(':', '', '',
			'tributary.log_heads'::regclass::oid, (SELECT salt FROM tributary.epoch)), 'UTF8')), 'hex'), 8)`
)

// isRefusal says that the server does not let this login call a function, or does not have it.
func isRefusal(err error) bool {
	is := code(err)
	return is == "42501" || is == "42883" || is == "0A000"
}
