package link

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/quic-go/quic-go"
	"storj.io/drpc"
	"storj.io/drpc/drpcerr"
)

// Class is what sort of failure an error is. A Class is itself an error, so
// that errors.Is(err, link.NotFound) works on both ends of a link.
type Class uint64

// The classes. Their numbers are wire codes and never change.
const (
	NotFound    Class = 101 + iota // no such thing
	Invalid                        // the request can never succeed as it is
	Unavailable                    // the peer cannot be reached, or cannot do it now: try again
	Denied                         // the caller may not do that, or is not trusted
	Conflict                       // the request does not fit the state, such as a wrong base revision
	Exhausted                      // a limit or a resource is used up
	Unsupported                    // the peer does not have that call or feature
	Internal                       // a bug or a broken store at the peer
)

// Error returns the name of the class.
func (c Class) Error() string {
	switch c {
	case NotFound:
		return "not found"
	case Invalid:
		return "invalid"
	case Unavailable:
		return "unavailable"
	case Denied:
		return "denied"
	case Conflict:
		return "conflict"
	case Exhausted:
		return "exhausted"
	case Unsupported:
		return "unsupported"
	case Internal:
		return "internal error"
	}
	return fmt.Sprintf("error class %d", uint64(c))
}

func (c Class) valid() bool { return c >= NotFound && c <= Internal }

// Error returns an error of class c that reads as fmt.Errorf would have it,
// including %w. The class does not show in its text.
func Error(c Class, format string, args ...any) error {
	return &classError{class: c, err: fmt.Errorf(format, args...)}
}

// ClassOf returns the class of err: Internal for an error without one, and 0
// for nil.
func ClassOf(err error) Class {
	var ce *classError
	var c Class
	switch {
	case err == nil:
		return 0
	case errors.As(err, &ce):
		return ce.class
	case errors.As(err, &c) && c.valid():
		return c
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return Unavailable
	case drpcerr.Code(err) == drpcerr.Unimplemented, drpc.ProtocolError.Has(err):
		return Unsupported // what drpc's mux says to a call that it does not know
	}
	return Internal
}

type classError struct {
	class Class
	err   error
}

func (e *classError) Error() string   { return e.err.Error() }
func (e *classError) Unwrap() []error { return []error{e.class, e.err} }

// toWire gives err the code by which fromWire at the other end knows its class.
func toWire(err error) error { return drpcerr.WithCode(err, uint64(ClassOf(err))) }

// fromWire makes of what a call ended with an error that has a class. io.EOF
// stays what it is: the regular end of a stream.
func (s *Session) fromWire(ctx context.Context, rpc string, err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	if c := Class(drpcerr.Code(err)); c.valid() {
		return &classError{class: c, err: err}
	}
	if ctx.Err() != nil {
		return fmt.Errorf("call %s: %w", rpc, context.Cause(ctx))
	}
	end := s.Err()
	var closed *quic.ApplicationError
	if end == nil && errors.As(err, &closed) {
		end = sessionError(closed) // the stream may notice before the session does
	}
	if end != nil {
		return Error(ClassOf(end), "call %s: %w", rpc, end)
	}
	var ce *classError
	if errors.As(err, &ce) {
		return fmt.Errorf("call %s: %w", rpc, err)
	}
	var reset *quic.StreamError
	if errors.As(err, &reset) || errors.Is(err, context.Canceled) {
		// drpc says "canceled" when the other end goes away in the middle of a
		// call. The caller's own context is fine, so it must not read that.
		return Error(Unavailable, "call %s: %s broke it off", rpc, s.Peer())
	}
	return Error(Unavailable, "call %s: %w", rpc, err)
}
