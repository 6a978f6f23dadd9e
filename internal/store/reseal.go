package store

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tributary-hub/tributary/internal/hub"
)

// A sealedColumn has values that the keyset sealed. Values that are NULL are none.
type sealedColumn struct {
	table, column string
	purpose       string   // as package secret names it
	key           []string // the primary key
	parts         []string // the columns that were sealed with the value, in that order
	only          string   // which of its values are sealed; "": all
}

// name is how people are told of it.
func (c sealedColumn) name() string { return c.table + "." + c.column }

// sealedColumns are all of them, small tables first. What is not here is not sealed anew when a key goes, and lost
// with it: a test holds this against the schema.
var sealedColumns = []sealedColumn{
	{
		table: "endpoints", column: "token_sealed", purpose: "endpoint-token",
		key: []string{"tenant_id", "id"}, parts: []string{"uuid_send(tenant_id)", "uuid_send(id)"},
	},
	{
		table: "secrets", column: "sealed", purpose: "endpoint-secret",
		key: []string{"tenant_id", "id"}, parts: []string{"uuid_send(tenant_id)", "uuid_send(endpoint_id)", "uuid_send(id)"},
	},
	{
		table: "idempotency", column: "answer", purpose: "answer",
		key: []string{"caller", "hash"}, parts: []string{"uuid_send(caller)", "hash"}, only: "sealed",
	},
	{
		table: "rejections", column: "sealed", purpose: "event-headers",
		key: []string{"tenant_id", "id"}, parts: []string{"uuid_send(tenant_id)", "uuid_send(id)"},
	},
	{
		table: "rejections", column: "sealed_body", purpose: "event-body",
		key: []string{"tenant_id", "id"}, parts: []string{"uuid_send(tenant_id)", "uuid_send(id)"},
	},
	{
		table: "events", column: "sealed", purpose: "event-headers",
		key: []string{"tenant_id", "id"}, parts: []string{"uuid_send(tenant_id)", "uuid_send(id)"},
	},
	{
		table: "events", column: "sealed_body", purpose: "event-body",
		key: []string{"tenant_id", "id"}, parts: []string{"uuid_send(tenant_id)", "uuid_send(id)"},
	},
}

// A SealedValue is one value as it is stored, with what was sealed with it.
type SealedValue struct {
	Purpose string
	Parts   [][]byte
	Sealed  []byte
}

// ResealOptions say how values are sealed anew.
type ResealOptions struct {
	URL      string                                       // required: the owner's
	Keyset   Keyset                                       // required: of whoever seals
	Prefix   []byte                                       // required: what begins the values that its primary has sealed
	Seal     func(v SealedValue) (anew []byte, err error) // required; a value that fails is counted and stays as it is
	Progress func(Resealed)                               // required; called after each page of each column
}

// Resealed is how far one column is.
type Resealed struct {
	Column string // such as events.sealed_body
	Seen   int    // values
	Anew   int    // that were sealed by another key, and are by the primary now
	Failed int    // that did not open
	Done   bool   // the column's last
}

// The bounds of what is read, and of what is sealed and written in one transaction: its rows are locked for a moment.
const (
	resealPage  = 1000
	resealRows  = 100
	resealBytes = 4 << 20
	resealTries = 5 // of one transaction that others' locks are in the way of
)

// Reseal seals anew whatever another key than the primary sealed, while nodes write: a value that changes meanwhile
// is theirs. It may be ended at any moment and called again. It refuses as Join does, and where a node does not say
// which keys it has.
func Reseal(ctx context.Context, o ResealOptions) error {
	return asOwner(ctx, o.URL, func(conn *pgx.Conn) error {
		err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			if err := admit(ctx, tx, o.Keyset, ""); err != nil {
				return err
			}
			return everyNodeSays(ctx, tx)
		})
		if err != nil {
			return fmt.Errorf("begin to reseal: %w", failure(err))
		}
		for _, c := range sealedColumns {
			r := &resealing{c: c, o: o, conn: conn, count: Resealed{Column: c.name()}}
			if err := r.run(ctx); err != nil {
				return fmt.Errorf("reseal %s: %w", c.name(), failure(err))
			}
		}
		return nil
	})
}

func everyNodeSays(ctx context.Context, db rower) error {
	state, err := keysetState(ctx, db)
	if err != nil {
		return err
	}
	return state.EveryNodeSays()
}

// resealing is the work on one column.
type resealing struct {
	c     sealedColumn
	o     ResealOptions
	conn  *pgx.Conn
	count Resealed
}

// A staleValue is one that another key than the primary sealed.
type staleValue struct {
	key  []any
	size int
}

func (r *resealing) run(ctx context.Context) error {
	var after []any
	for !r.count.Done {
		stale, last, err := r.page(ctx, after)
		if err != nil {
			return err
		}
		for len(stale) > 0 {
			n := upTo(stale)
			if err := r.sealAnew(ctx, stale[:n]); err != nil {
				return err
			}
			stale = stale[n:]
		}
		after = last
		r.o.Progress(r.count)
	}
	return nil
}

// upTo says how many of the first values are sealed at once: as many as the bounds allow, at least one.
func upTo(stale []staleValue) int {
	size := 0
	for i, v := range stale {
		if size += v.size; i > 0 && (i == resealRows || size > resealBytes) {
			return i
		}
	}
	return len(stale)
}

// page lists those of the next rows that are stale, and the key of the last row. It reads no value: a page of large
// ones would not fit.
func (r *resealing) page(ctx context.Context, after []any) (stale []staleValue, last []any, err error) {
	where, args := "true", []any{r.o.Prefix}
	if after != nil {
		where, args = "("+strings.Join(r.c.key, ", ")+") > ($2, $3)", append(args, after...)
	}
	key := strings.Join(r.c.key, ", ")
	rows, err := r.conn.Query(ctx, `
		SELECT `+key+`, coalesce(octet_length(`+r.c.column+`), 0), `+r.c.is()+`, `+r.c.is()+` AND `+r.c.isStale("$1")+`
		  FROM tributary.`+r.c.table+` WHERE `+where+` ORDER BY `+key+fmt.Sprintf(" LIMIT %d", resealPage), args...)
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close()
	n := 0
	for ; rows.Next(); n++ {
		values, err := rows.Values()
		if err != nil {
			return nil, nil, err
		}
		last = values[:2:2]
		size, _ := values[2].(int32)
		if sealed, _ := values[3].(bool); sealed {
			r.count.Seen++
		}
		if isStale, _ := values[4].(bool); isStale {
			stale = append(stale, staleValue{key: last, size: int(size)})
		}
	}
	r.count.Done = n < resealPage
	return stale, last, rows.Err()
}

// is says which of the column's values are sealed, as SQL.
func (c sealedColumn) is() string {
	if c.only != "" {
		return "(" + c.column + " IS NOT NULL AND " + c.only + ")"
	}
	return "(" + c.column + " IS NOT NULL)"
}

func (c sealedColumn) isStale(prefix string) string {
	return "(substring(" + c.column + " FROM 1 FOR 5) IS DISTINCT FROM " + prefix + "::bytea)"
}

// A changedValue is one that was sealed anew and is not yet written.
type changedValue struct {
	key         []any
	anew, since []byte
}

func (r *resealing) sealAnew(ctx context.Context, stale []staleValue) error {
	var changed []changedValue
	batch := &pgx.Batch{}
	for _, v := range stale {
		batch.Queue(`SELECT `+r.c.column+`, ARRAY[`+strings.Join(r.c.parts, ", ")+`] FROM tributary.`+r.c.table+`
			WHERE `+r.c.key[0]+` = $1 AND `+r.c.key[1]+` = $2 AND `+r.c.is(), v.key...).QueryRow(func(row pgx.Row) error {
			value := SealedValue{Purpose: r.c.purpose}
			err := row.Scan(&value.Sealed, &value.Parts)
			if errors.Is(err, pgx.ErrNoRows) { // deleted since the page was read
				return nil
			}
			if err != nil {
				return err
			}
			anew, err := r.o.Seal(value)
			if err != nil {
				r.count.Failed++
				return nil //nolint:nilerr // it is counted, and the rest goes on
			}
			changed = append(changed, changedValue{v.key, anew, value.Sealed})
			return nil
		})
	}
	if err := r.conn.SendBatch(ctx, batch).Close(); err != nil {
		return err
	}
	for try := 1; ; try++ {
		anew, err := r.write(ctx, changed)
		if err == nil {
			r.count.Anew += anew
			return nil
		}
		if try == resealTries || code(err) != "40P01" { // a deadlock with those who change several rows
			return err
		}
	}
}

// write is one transaction. Where somebody has changed a value meanwhile, theirs stays.
func (r *resealing) write(ctx context.Context, changed []changedValue) (written int, err error) {
	batch := &pgx.Batch{}
	for _, v := range changed {
		batch.Queue(`UPDATE tributary.`+r.c.table+` SET `+r.c.column+` = $3
			WHERE `+r.c.key[0]+` = $1 AND `+r.c.key[1]+` = $2 AND `+r.c.column+` = $4`, v.key[0], v.key[1], v.anew, v.since).
			Exec(func(tag pgconn.CommandTag) error { written += int(tag.RowsAffected()); return nil })
	}
	return written, r.conn.SendBatch(ctx, batch).Close()
}

// Retire lets no key but the keyset's primary seal from now on. hub.Conflict where a node seals with another key, or
// does not say, and while anything that is stored is sealed by another: then nothing has changed, but that what one
// that was killed retired while it is in use may seal again.
func Retire(ctx context.Context, ownerURL string, k Keyset, prefix []byte) error {
	return asOwner(ctx, ownerURL, func(conn *pgx.Conn) error {
		var retired []int64
		err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) (err error) {
			retired, err = retire(ctx, tx, k)
			return err
		})
		if err != nil {
			return fmt.Errorf("retire keys: %w", failure(err))
		}
		// From here on nobody starts to seal with them, so that what is found to be sealed by none stays so.
		used, err := unsealedBy(ctx, conn, prefix)
		if err == nil {
			return nil
		}
		_, undo := conn.Exec(context.WithoutCancel(ctx), `
			UPDATE tributary.keyset_keys SET retired_at = NULL
			 WHERE key_id = ANY ($1) OR key_id <> $2 AND substring(proof FROM 1 FOR 5) = ANY ($3)`, retired, k.Primary, used)
		return errors.Join(err, failure(undo))
	})
}

func retire(ctx context.Context, tx pgx.Tx, k Keyset) ([]int64, error) {
	if err := admit(ctx, tx, k, ""); err != nil {
		return nil, err
	}
	state, err := keysetState(ctx, tx)
	if err == nil {
		err = state.EveryNodeSays()
	}
	if err != nil {
		return nil, err
	}
	for _, n := range state.Nodes {
		if *n.Primary != k.Primary {
			return nil, hub.Errorf(hub.Conflict, "the running node %s still seals with key %d: start it with the keyset that `tributary keyset promote` printed", n.ID, *n.Primary)
		}
	}
	rows, _ := tx.Query(ctx, `UPDATE tributary.keyset_keys SET retired_at = now() WHERE key_id <> $1 AND retired_at IS NULL RETURNING key_id`, k.Primary)
	return pgx.CollectRows(rows, pgx.RowTo[int64])
}

// A sealedBy is how many values begin with a prefix.
type sealedBy struct {
	Prefix []byte
	Values int
}

// unsealedBy refuses where any value was sealed by another key than the one of that prefix, and gives the prefixes of
// those that it has found.
func unsealedBy(ctx context.Context, conn *pgx.Conn, prefix []byte) (used [][]byte, err error) {
	var left []string
	for _, c := range sealedColumns {
		rows, _ := conn.Query(ctx, `
			SELECT substring(`+c.column+` FROM 1 FOR 5), count(*) FROM tributary.`+c.table+`
			 WHERE `+c.is()+` AND `+c.isStale("$1")+` GROUP BY 1`, prefix)
		found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[sealedBy])
		if err != nil {
			return used, fmt.Errorf("look for what is sealed in %s: %w", c.name(), failure(err))
		}
		n := 0
		for _, f := range found {
			n, used = n+f.Values, append(used, f.Prefix)
		}
		if n > 0 {
			left = append(left, fmt.Sprintf("%d in %s", n, c.name()))
		}
	}
	if len(left) > 0 {
		return used, hub.Errorf(hub.Conflict, "values are still sealed by keys that would go: %s; run `tributary keyset reseal` first", strings.Join(left, ", "))
	}
	return nil, nil
}
