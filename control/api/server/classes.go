package server

import (
	"errors"

	"github.com/edgeio/edgeio/control/api"
	"github.com/edgeio/edgeio/proto/link"
)

// classError is an error of a class with a text of its own.
type classError struct {
	class error
	text  string
}

func (e classError) Error() string { return e.text }
func (e classError) Unwrap() error { return e.class }

// classes says which class of the API the classes of the link are.
var classes = map[link.Class]error{
	link.NotFound:    api.ErrNotFound,
	link.Invalid:     api.ErrInvalid,
	link.Unavailable: api.ErrUnavailable,
	link.Denied:      api.ErrDenied,
	link.Conflict:    api.ErrConflict,
	link.Exhausted:   api.ErrExhausted,
	link.Unsupported: api.ErrUnsupported,
	link.Internal:    api.ErrInternal,
}

// classed gives an error a class of the API: its own if it has one, else the
// one that its class of the link stands for.
func classed(err error) error {
	if err == nil || !errors.Is(api.NewProblem(err), api.ErrInternal) {
		return err
	}
	return classError{classes[link.ClassOf(err)], err.Error()}
}
