package api

import "errors"

// The classes of errors of the API. Errors of a backend wrap one of them (or
// one of the classes of proto/link, which are mapped to these), and errors
// of the Client are of one, so that errors.Is works at both ends.
var (
	ErrInvalid         = errors.New("invalid")           // 422: the request makes no sense, or the job file is wrong
	ErrUnauthenticated = errors.New("not authenticated") // 401: no token, or not a good one
	ErrDenied          = errors.New("not allowed")       // 403
	ErrNotFound        = errors.New("not found")         // 404
	ErrConflict        = errors.New("conflict")          // 409: as things are now, it cannot be done
	ErrTooLarge        = errors.New("too large")         // 413
	ErrExhausted       = errors.New("exhausted")         // 429: too much asked for
	ErrUnsupported     = errors.New("not supported")     // 501: the runtime or this release cannot do it
	ErrUnavailable     = errors.New("unavailable")       // 503: not now; trying again may help
	ErrInternal        = errors.New("internal error")    // 500
)
