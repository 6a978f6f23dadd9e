package api

import (
	"encoding"
	"errors"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/store"
)

// idText is a pointer to an id, which reads its text form.
type idText[I any] interface {
	*I
	encoding.TextUnmarshaler
}

// refOf reads what a path names an object by: an id, or a name. What can be neither names nothing.
func refOf[I any, P idText[I]](s, noun string) (store.Ref[I], error) {
	if hub.LooksLikeID(s) {
		id, err := idOf[I, P](s, noun)
		return store.Ref[I]{ID: id}, err
	}
	if hub.ValidateName(s) != nil {
		return store.Ref[I]{}, hub.Errorf(hub.NotFound, "no such %s", noun)
	}
	return store.Ref[I]{Name: s}, nil
}

// idOf reads an id of a path. Another text names nothing.
func idOf[I any, P idText[I]](s, noun string) (I, error) {
	var id I
	if err := P(&id).UnmarshalText([]byte(s)); err != nil || s == "" {
		return id, hub.Errorf(hub.NotFound, "no such %s", noun)
	}
	return id, nil
}

// nameToPut is the name that a PUT gives: that of its path, which the body may repeat, or where the path has an id,
// that of the body; "" leaves it.
func nameToPut(path, body string) (string, error) {
	if hub.LooksLikeID(path) {
		if body == "" {
			return "", nil
		}
		return body, hub.ValidateName(body)
	}
	if err := hub.ValidateName(path); err != nil {
		return "", at("path", err)
	}
	if body != "" && body != path {
		return "", hub.FieldErrorf("body.name", "is not the name in the path")
	}
	return path, nil
}

// at moves a field error to another place.
func at(location string, err error) error {
	e, ok := errors.AsType[*hub.Error](err)
	if !ok || len(e.Fields) == 0 {
		return err
	}
	moved := *e
	moved.Fields = nil
	for _, f := range e.Fields {
		moved.Fields = append(moved.Fields, hub.FieldError{Location: location, Message: f.Message})
	}
	return &moved
}

// join collects the errors of several fields into one, so that a request is told all that is wrong with it at once.
// An error without a field comes back by itself.
func join(errs ...error) error {
	var all *hub.Error
	for _, err := range errs {
		if err == nil {
			continue
		}
		e, ok := errors.AsType[*hub.Error](err)
		if !ok || len(e.Fields) == 0 {
			return err
		}
		if all == nil {
			all = hub.Errorf(e.Code, "%s: %s", e.Fields[0].Location, e.Fields[0].Message)
		}
		all.Fields = append(all.Fields, e.Fields...)
	}
	if all == nil {
		return nil
	}
	return all
}
