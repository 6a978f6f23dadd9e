package api

import (
	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/secret"
)

// A Page says which part of a list to give.
type Page struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"100" default:"50" doc:"Most items of a page."`
	Cursor string `query:"cursor" maxLength:"500" doc:"The next_cursor of the page before."`
}

// A List is a page of a list. NextCursor is null on the last page.
type List[T any] struct {
	Items      []T     `json:"items"`
	NextCursor *string `json:"next_cursor" doc:"Where the next page begins; null on the last." example:"AXk2Zb0"`
}

// after opens the cursor of a page: the id that the page before ended with, zero for the first page. A cursor of
// another tenant or another list does not open.
func (a *API) after(c *call, p Page) (id [16]byte, err error) {
	if p.Cursor == "" {
		return id, nil
	}
	opened, err := a.o.Keeper.OpenText(secret.Cursor, p.Cursor, c.tenant[:], []byte(c.op.id))
	if err != nil || len(opened) != len(id) {
		return id, hub.Errorf(hub.Malformed, "the cursor is not one of this list")
	}
	copy(id[:], opened)
	return id, nil
}

// cursor seals the id that a page ended with.
func (a *API) cursor(c *call, id [16]byte) (*string, error) {
	sealed, err := a.o.Keeper.SealText(secret.Cursor, id[:], c.tenant[:], []byte(c.op.id))
	if err != nil {
		return nil, err
	}
	return &sealed, nil
}

// list makes a page of rows, of which one more was asked for than the page holds: that one says that there is a next.
func list[R, T any](a *API, c *call, p Page, rows []R, id func(R) [16]byte, item func(R) T) (List[T], error) {
	l := List[T]{Items: make([]T, 0, len(rows))}
	if len(rows) > p.Limit {
		rows = rows[:p.Limit]
		next, err := a.cursor(c, id(rows[len(rows)-1]))
		if err != nil {
			return l, err
		}
		l.NextCursor = next
	}
	for _, row := range rows {
		l.Items = append(l.Items, item(row))
	}
	return l, nil
}
