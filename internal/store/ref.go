package store

// A Ref names an object as a path does: by its id, or by its name where ID is zero. Names never look like ids.
type Ref[I any] struct {
	ID   I
	Name string
}
