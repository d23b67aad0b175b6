package docker

import (
	"context"
	"errors"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"

	"github.com/edgeio/edgeio/drivers"
)

// fail classifies an error of an API call that ran under ctx.
func (d *Driver) fail(ctx context.Context, op, id string, err error) error {
	if known := new(drivers.Error); errors.As(err, &known) {
		return err
	}
	if errors.Is(err, context.Canceled) {
		return drivers.Errorf(drivers.ErrUnavailable, op, id, "given up: %w", context.Canceled)
	}
	if errors.Is(err, context.DeadlineExceeded) || context.Cause(ctx) != nil {
		return drivers.Errorf(drivers.ErrUnavailable, op, id, "%s at %s does not answer in time: %w", d.cfg.Name, d.cfg.Host, err)
	}
	return drivers.Errorf(classOf(err), op, id, "%w", plain(err))
}

// classOf sorts errors of the client and the daemon into classes. The daemon
// says some things by status code and some only in words; words are looked at
// first, for the codes of old daemons are unreliable.
func classOf(err error) error {
	text := strings.ToLower(err.Error())
	for _, known := range wordings {
		if strings.Contains(text, known.words) {
			return known.class
		}
	}
	switch {
	case client.IsErrConnectionFailed(err):
		return drivers.ErrUnavailable
	case errdefs.IsNotFound(err):
		return drivers.ErrNotFound
	case errdefs.IsConflict(err), errdefs.IsAlreadyExists(err), errdefs.IsFailedPrecondition(err):
		return drivers.ErrConflict
	case errdefs.IsInvalidArgument(err):
		return drivers.ErrInvalid
	case errdefs.IsPermissionDenied(err), errdefs.IsUnauthorized(err):
		return drivers.ErrDenied
	case errdefs.IsNotImplemented(err):
		return drivers.ErrUnsupported
	default:
		return drivers.ErrUnavailable
	}
}

// wordings are parts of the daemon's and the kernel's messages that mean more
// than the status code they come with. Lower case; the first match counts.
var wordings = []struct {
	words string
	class error
}{
	{"marked for removal", drivers.ErrNotFound},
	{"no space left on device", drivers.ErrExhausted},
	{"disk quota exceeded", drivers.ErrExhausted},
	{"too many open files", drivers.ErrExhausted},
	{"cannot allocate memory", drivers.ErrExhausted},
	{"resource temporarily unavailable", drivers.ErrExhausted},
	{"no available ipv4 addresses", drivers.ErrExhausted},
	{"all ports are allocated", drivers.ErrExhausted},
	{"port is already allocated", drivers.ErrConflict},
	{"address already in use", drivers.ErrConflict},
	{"permission denied while trying to connect", drivers.ErrDenied},
	{"executable file not found", drivers.ErrInvalid},
	{"no such file or directory: unknown", drivers.ErrInvalid},
	{"exec format error", drivers.ErrInvalid},
	{"permission denied: unknown", drivers.ErrInvalid},
	{"unable to find user", drivers.ErrInvalid},
	{"unable to find group", drivers.ErrInvalid},
	{"no matching entries in passwd file", drivers.ErrInvalid},
	{"minimum memory limit", drivers.ErrInvalid},
}

// plain takes away the prefix that the client puts before each message of the daemon.
func plain(err error) error {
	const prefix = "Error response from daemon: "
	if text, ok := strings.CutPrefix(err.Error(), prefix); ok {
		return plainError{text: text, err: err}
	}
	return err
}

type plainError struct {
	text string
	err  error
}

func (e plainError) Error() string { return e.text }
func (e plainError) Unwrap() error { return e.err }
