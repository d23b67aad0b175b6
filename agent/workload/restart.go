package workload

import (
	"fmt"
	"time"

	"github.com/edgeio/edgeio/drivers"
	"github.com/edgeio/edgeio/proto/job"
)

// Bounds of the restart policy.
const (
	defaultBackoff  = time.Second
	defaultAttempts = 3                // of on_failure
	resetFactor     = 10               // a run this many back-offs long is a good one …
	resetCeiling    = 60 * time.Second // … and at most this long is asked for
)

// verdict is what becomes of an instance whose workload has ended.
type verdict struct {
	restart  bool
	delay    time.Duration
	failures int       // the series after this end
	state    job.State // if not restarted
	reason   string
}

// ending describes the end of a workload, or that it could not be started.
type ending struct {
	what     string        // "exited with code 1"
	success  bool          // it ended well
	reboot   bool          // it ended because the node did
	futile   bool          // a further run would end the same way
	ran      time.Duration // how long it had run
	failures int           // the series before this end
}

// judge applies the restart policy. A reboot is not the workload's fault: it
// is started again at once and does not count, unless the policy is never.
// A service that ends well is not COMPLETED: only batch jobs are meant to end.
func judge(kind job.Kind, r job.Restart, e ending) verdict {
	policy := r.Policy
	if policy == "" {
		policy = defaultPolicy(kind)
	}
	if e.success && kind == job.Batch {
		return verdict{state: job.Completed, reason: e.what}
	}
	if e.reboot {
		if policy == job.RestartNever {
			return verdict{state: job.Failed, reason: "the node was restarted"}
		}
		return verdict{restart: true, failures: e.failures, reason: "the node was restarted; starting again"}
	}
	if e.futile {
		return verdict{state: job.Failed, reason: e.what + "; not restarted, as it would end the same way"}
	}
	if policy == job.RestartNever || (e.success && policy == job.RestartOnFailure) {
		return verdict{state: job.Failed, reason: fmt.Sprintf("%s; not restarted (restart policy %s)", e.what, policy)}
	}
	base := time.Duration(r.Backoff)
	if base <= 0 {
		base = defaultBackoff
	}
	failures := e.failures
	if e.ran > 0 && e.ran >= min(resetFactor*backoff(base, failures), resetCeiling) {
		failures = 0
	}
	attempts := r.Attempts
	if attempts == 0 && policy == job.RestartOnFailure {
		attempts = defaultAttempts
	}
	if attempts > 0 && failures >= attempts {
		return verdict{state: job.Failed, failures: failures, reason: fmt.Sprintf("%s; given up after %s", e.what, times(failures, "restart"))}
	}
	failures++
	delay := backoff(base, failures)
	return verdict{
		restart: true, delay: delay, failures: failures,
		reason: fmt.Sprintf("%s; restart %d in %s", e.what, failures, delay),
	}
}

func defaultPolicy(k job.Kind) job.RestartPolicy {
	if k == job.Batch {
		return job.RestartOnFailure
	}
	return job.RestartAlways
}

// backoff is the pause before the n-th restart in a row, n from 1.
func backoff(base time.Duration, n int) time.Duration {
	d := min(base, job.MaxBackoff)
	for ; n > 1 && d < job.MaxBackoff; n-- {
		d = min(2*d, job.MaxBackoff)
	}
	return d
}

// describe words how a run ended.
func describe(e drivers.Exit, memory int64) string {
	s := fmt.Sprintf("exited with code %d", e.Code)
	switch {
	case e.OOMKilled && memory > 0:
		s = fmt.Sprintf("out of memory: it used more than its %d MB", memory)
	case e.OOMKilled:
		s = "out of memory"
	case e.Lost:
		s = "lost: nobody saw it end"
	case e.Code > 128 && e.Code < 128+65:
		s = fmt.Sprintf("killed by signal %d (code %d)", e.Code-128, e.Code)
	}
	if e.Reason != "" {
		s += " (" + e.Reason + ")"
	}
	return s
}

func times(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
