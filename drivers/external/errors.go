package external

import (
	"context"
	"errors"
	"slices"

	"github.com/edgeio/edgeio/drivers"
)

// classes are the names of the error classes in the protocol.
var classes = []struct {
	name string
	err  error
}{
	{"invalid", drivers.ErrInvalid},
	{"not_found", drivers.ErrNotFound},
	{"conflict", drivers.ErrConflict},
	{"unavailable", drivers.ErrUnavailable},
	{"image", drivers.ErrImage},
	{"denied", drivers.ErrDenied},
	{"exhausted", drivers.ErrExhausted},
	{"unsupported", drivers.ErrUnsupported},
	// Not classes, but told apart by callers, too.
	{"canceled", context.Canceled},
	{"deadline_exceeded", context.DeadlineExceeded},
}

// wireError is an error in the protocol.
type wireError struct {
	Classes []string `json:"classes"`      // all that errors.Is finds; the class of a drivers.Error comes first
	Op      string   `json:"op,omitempty"` // with Op, Message is only the cause, as in drivers.Error
	ID      string   `json:"id,omitempty"`
	Message string   `json:"message"`
}

func toWire(err error) *wireError {
	w := &wireError{Message: err.Error(), Classes: []string{}}
	var first error
	if e, ok := err.(*drivers.Error); ok && e.Op != "" && e.Err != nil {
		w.Op, w.ID, w.Message, first = e.Op, e.ID, e.Err.Error(), e.Class
	} else if errors.As(err, &e) {
		first = e.Class
	}
	for _, c := range classes {
		switch {
		case c.err == first:
			w.Classes = slices.Insert(w.Classes, 0, c.name)
		case errors.Is(err, c.err):
			w.Classes = append(w.Classes, c.name)
		}
	}
	return w
}

// error returns what the driver had returned: the same text, and the same to
// errors.Is. Classes that this version does not know are left out.
func (w *wireError) error() error {
	r := &remoteError{message: w.Message}
	for _, name := range w.Classes {
		for _, c := range classes {
			if c.name == name {
				r.is = append(r.is, c.err)
			}
		}
	}
	if w.Op == "" {
		return r
	}
	e := &drivers.Error{Class: drivers.ErrUnavailable, Op: w.Op, ID: w.ID, Err: r}
	if len(r.is) > 0 {
		e.Class, r.is = r.is[0], r.is[1:]
	}
	return e
}

// remoteError is an error of another process.
type remoteError struct {
	message string
	is      []error
}

func (e *remoteError) Error() string   { return e.message }
func (e *remoteError) Unwrap() []error { return e.is }

// lostError is a connection that ended before the answer, or was never made:
// the program has died, is restarting or does not speak the protocol.
type lostError struct {
	cause error
	away  bool // there was no program to begin with
}

func (e *lostError) Error() string { return e.cause.Error() }
func (e *lostError) Unwrap() error { return e.cause }
