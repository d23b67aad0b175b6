package drivers

import (
	"errors"
	"fmt"
)

// The error classes. Test with errors.Is; the agent decides by class whether
// to try again, to report, or to give up.
var (
	ErrInvalid     = errors.New("invalid")            // the Spec or Handle can never work; not retried
	ErrNotFound    = errors.New("not found")          // no such workload
	ErrConflict    = errors.New("conflict")           // not possible in the workload's phase, or the name or port is taken
	ErrUnavailable = errors.New("unavailable")        // the runtime does not answer; retried
	ErrImage       = errors.New("image")              // image missing, wrong checksum or architecture, registry trouble; with ErrUnavailable beside it: may pass
	ErrDenied      = errors.New("denied")             // permissions or credentials
	ErrExhausted   = errors.New("resource exhausted") // disk full, limits of the host
	ErrUnsupported = errors.New("unsupported")        // this driver cannot do that
)

// Error is an error of a driver: what was done to what, and of which class.
type Error struct {
	Class error  // one of the classes above
	Op    string // "create", "start", …
	ID    string // the workload, if there is one
	Err   error  // the cause, worded for the user
}

func (e *Error) Error() string {
	if e.ID == "" {
		return fmt.Sprintf("%s: %v", e.Op, e.Err)
	}
	return fmt.Sprintf("%s %s: %v", e.Op, e.ID, e.Err)
}

// Unwrap makes both the class and the cause visible to errors.Is and errors.As.
func (e *Error) Unwrap() []error { return []error{e.Class, e.Err} }

// Errorf returns an *Error; format and args word the cause, %w included.
func Errorf(class error, op, id, format string, args ...any) error {
	return &Error{Class: class, Op: op, ID: id, Err: fmt.Errorf(format, args...)}
}
