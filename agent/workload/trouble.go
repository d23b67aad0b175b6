package workload

import (
	"context"
	"errors"
	"time"

	"github.com/edgeio/edgeio/drivers"
	"github.com/edgeio/edgeio/proto/job"
)

// failed deals with an action that could not be done.
func (in Instance) failed(err error, env Env) Instance {
	if in.Removed || in.Phase == PhaseClear {
		if in.Phase == PhaseRemove && errors.Is(err, drivers.ErrConflict) {
			in.Phase = PhaseStop
		}
		return in.retry(err)
	}
	if in.Phase == PhaseRun || in.Inspect {
		return in.unwatchable(err, env)
	}
	if in.Phase == PhaseStart && errors.Is(err, drivers.ErrNotFound) {
		in.Handle, in.Phase = nil, PhaseCreate
		return in.retry(err)
	}
	switch severity(err, in.Tries) {
	case again:
		return in.retry(err)
	case fatal:
		in.RetryIn, in.Tries = 0, 0
		in.Phase = PhaseEnded
		in.Final = err.Error()
		return in.move(job.Failed, err.Error(), nil, env.Now)
	}
	in.RetryIn, in.Tries = 0, 0
	return in.end(ending{what: err.Error(), failures: in.Failures}, nil, "", env)
}

// unwatchable deals with a workload that cannot be waited for or inspected.
func (in Instance) unwatchable(err error, env Env) Instance {
	switch {
	case errors.Is(err, drivers.ErrNotFound):
		in.Handle, in.Inspect = nil, false
		in.RetryIn, in.Tries = 0, 0
		if in.Phase != PhaseRun {
			if in.Phase != PhaseWait {
				in.Phase = PhaseCreate
			}
			return in
		}
		exit := drivers.Exit{Code: -1, Lost: true, Reason: "gone from the runtime", At: env.Now}
		return in.end(ending{
			what: describe(exit, 0), reboot: in.rebooted(env),
			ran: env.Now.Sub(in.StartedAt), failures: in.Failures,
		}, &exit, "", env)
	case errors.Is(err, drivers.ErrConflict):
		in.Inspect = false
		return in.notStarted(env)
	case errors.Is(err, drivers.ErrInvalid):
		in.Inspect, in.Phase = false, PhaseEnded
		in.Final = err.Error()
		return in.move(job.Failed, err.Error(), nil, env.Now)
	}
	return in.retry(err)
}

// Bounds of repeating what the runtime could not do just now.
const (
	retryBase  = 250 * time.Millisecond
	retryLimit = 30 * time.Second
	imageTries = 6 // pulls of an image from a registry that does not answer: about 16 s
)

func (in Instance) retry(err error) Instance {
	in.RetryIn = retryBase << min(in.Tries, 8)
	in.RetryIn = min(in.RetryIn, retryLimit)
	in.Tries++
	in.Note = err.Error()
	return in
}

type severityClass int

const (
	again severityClass = iota // not the workload's fault: repeat, do not count
	bad                        // counts as a failed run
	fatal                      // will never work
)

// severity sorts the errors of Create and Start. A runtime that does not
// answer is waited for without bound; a registry that does not, or a full
// disk, only for a while, so that the parent can look for another node.
func severity(err error, tries int) severityClass {
	is := func(class error) bool { return errors.Is(err, class) }
	switch {
	case is(drivers.ErrUnavailable), is(context.DeadlineExceeded):
		if is(drivers.ErrImage) && tries >= imageTries {
			return fatal
		}
		return again
	case is(drivers.ErrExhausted):
		return bad
	case is(drivers.ErrInvalid), is(drivers.ErrImage), is(drivers.ErrDenied), is(drivers.ErrUnsupported):
		return fatal
	}
	return bad
}
